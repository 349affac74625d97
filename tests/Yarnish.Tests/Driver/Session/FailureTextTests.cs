using Xunit;
using Yarnish.Jobs;
using Yarnish.Protocol;

namespace Yarnish.Tests.Driver.Session;

public sealed class FailureTextTests
{
    [Fact]
    public void User_frames_come_first_and_the_rest_is_counted()
    {
        var error = new RemoteError(
            "System.FormatException",
            "bad",
            "   at System.Number.Throw()\n   at WordCount.Parse(String line) in Program.cs:line 42\n   at Yarnish.Operators.SelectOperator.Run()\n   at Yarnish.Executor.Slot.Run()")
        {
            Inner = new RemoteError("System.IO.IOException", "disk", "   at WordCount.Open() in Program.cs:line 7"),
        };

        var text = FailureText.OfTask("3 (CountAsync at Program.cs:12)", "stage 4 (Select at Program.cs:10)", 17, 4, new ExecutorId("c-1-3"), new TaskFailed(error), new ApplicationId("app-1"));

        Assert.Equal(
            """
            Job 3 (CountAsync at Program.cs:12) failed: stage 4 (Select at Program.cs:10), partition 17 failed 4 times, last on executor c-1-3.
              why:  System.FormatException: bad
                      at WordCount.Parse(String line) in Program.cs:line 42
                      (and 3 more frames, see YarnishJobException.RemoteError)
                    caused by System.IO.IOException: disk
                      at WordCount.Open() in Program.cs:line 7
              cure: correct the function or its input; a failure that passes by itself may be tried more often with Yarnish:MaximumTaskFailures; the executor's own words: yarnish app logs app-1
            """,
            text,
            ignoreLineEndingDifferences: true);
    }

    [Fact]
    public void Lost_executor_says_what_ended_it()
    {
        var text = FailureText.OfTask("0 (x)", "stage 0 (y)", 1, 4, new ExecutorId("c-1-3"), new TaskExecutorLost(new ExecutorId("c-1-3"), ContainerExitCause.OutOfMemory, true, "1100 MiB used"), null);

        Assert.Contains("OutOfMemory", text, StringComparison.Ordinal);
        Assert.Contains("Yarnish:ExecutorMemory", text, StringComparison.Ordinal);
        Assert.DoesNotContain("yarnish app logs", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_kind_of_end_has_words()
    {
        var kinds = typeof(TaskEnd).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(TaskEnd)) && type != typeof(TaskSucceeded)).ToList();
        Assert.NotEmpty(kinds);
        foreach (var kind in kinds)
        {
            var end = (TaskEnd)System.Runtime.CompilerServices.RuntimeHelpers.GetUninitializedObject(kind);
            if (end is TaskFailed)
            {
                end = new TaskFailed(new RemoteError("T", "m", ""));
            }
            Assert.NotEqual(kind.Name, FailureText.Describe(end));
        }
    }
}
