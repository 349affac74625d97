using Xunit;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Tests.Executor;

/// <summary>What a task adds to accumulators, until it stands in its report.</summary>
public sealed class AccumulatorTaskTests
{
    private static readonly StageId Stage = new(0);

    private static AccumulatorTotal<long, long> Sum(int number = 0, string name = "sum") => new(number, name, new SumRule<long>());

    /// <summary>As on an executor: made from its bytes, without the driver's end.</summary>
    private static Accumulator<TAdded, TValue> Arrived<TAdded, TValue>(AccumulatorTotal<TAdded, TValue> total)
    {
        Func<Accumulator<TAdded, TValue>> function = () => throw new InvalidOperationException();
        var here = new Accumulator<TAdded, TValue>(total);
        function = () => here;
        return ClosureSerializer.Deserialize<Func<Accumulator<TAdded, TValue>>>(ClosureSerializer.Serialize(function, "test").Bytes)();
    }

    private static async Task<TaskReport> RunAsync(Action<TaskRuntime> program)
    {
        await using var harness = new ExecutorHarness();
        harness.Program("adds", program);
        await harness.StartAsync();
        await harness.SendTasksAsync("adds", 1);
        return await harness.ReportAsync();
    }

    [Fact]
    public async Task Threads_and_async_code_of_a_task_add_at_the_same_time_and_nothing_is_lost()
    {
        var total = Sum();
        var accumulator = Arrived(total);

        var report = await RunAsync(_ =>
        {
            Parallel.For(0, 10_000, _ => accumulator.Add(1));
            Task.Run(() => Parallel.ForEachAsync(Enumerable.Range(0, 1000), async (i, _) =>
            {
                await Task.Yield();
                accumulator.Add(i);
            })).GetAwaiter().GetResult();
        });

        Assert.Equal(0, total.Read());
        total.Merge(Stage, Assert.Single(report.Accumulators!).Value);
        Assert.Equal(10_000 + 499_500, total.Read());
    }

    [Fact]
    public async Task Several_accumulators_ride_in_one_report_each_with_its_own()
    {
        var (rows, longest, bad) = (Sum(3), new AccumulatorTotal<int, int>(5, "longest", new MaximumRule<int>(0)), new AccumulatorTotal<string, AccumulatedItems<string>>(8, "bad", new ItemsRule<string>(2)));
        var (addRows, addLongest, addBad) = (Arrived(rows), Arrived(longest), Arrived(bad));

        var report = await RunAsync(_ =>
        {
            foreach (var word in (string[])["a", "ccc", "bb", "x"])
            {
                addRows.Add(1);
                addLongest.Add(word.Length);
                addBad.Add(word);
            }
        });

        Assert.Equal([3, 5, 8], report.Accumulators!.Keys);
        rows.Merge(Stage, report.Accumulators[3]);
        longest.Merge(Stage, report.Accumulators[5]);
        bad.Merge(Stage, report.Accumulators[8]);
        bad.Merge(Stage, report.Accumulators[8]);
        Assert.Equal((4, 3), (rows.Read(), longest.Read()));
        Assert.Equal(["a", "ccc"], bad.Read().Items);
        Assert.Equal(8, bad.Read().Count);
    }

    [Fact]
    public async Task What_a_task_that_fails_has_added_is_not_reported()
    {
        var accumulator = Arrived(Sum());

        var report = await RunAsync(_ =>
        {
            accumulator.Add(1);
            throw new InvalidOperationException("no");
        });

        Assert.IsType<TaskFailed>(report.End);
        Assert.Null(report.Accumulators);
    }

    [Fact]
    public async Task What_a_completion_listener_adds_counts()
    {
        var total = Sum();
        var accumulator = Arrived(total);

        var report = await RunAsync(task => task.Context.OnCompletion(_ => accumulator.Add(2)));

        total.Merge(Stage, report.Accumulators![0]);
        Assert.Equal(2, total.Read());
    }

    [Fact]
    public async Task A_task_that_adds_too_much_fails_with_the_name_and_the_cure()
    {
        var accumulator = Arrived(new AccumulatorTotal<string, AccumulatedItems<string>>(0, "bad lines", new ItemsRule<string>(1_000_000)));

        var report = await RunAsync(_ =>
        {
            for (var i = 0; i < 3000; i++)
            {
                accumulator.Add(new string('x', 500));
            }
        });

        var error = Assert.IsType<TaskFailed>(report.End).Error;
        Assert.Equal("Yarnish.AccumulatorException", error.Type);
        Assert.Contains("Accumulator 'bad lines'", error.Message, StringComparison.Ordinal);
        Assert.Contains("1,048,576 at most", error.Message, StringComparison.Ordinal);
        Assert.Null(report.Accumulators);
    }

    [Fact]
    public async Task Reading_the_value_inside_a_task_says_that_only_the_driver_knows_it()
    {
        var mine = new Accumulator<long, long>(Sum());
        var arrived = Arrived(Sum());
        foreach (var accumulator in (Accumulator<long, long>[])[mine, arrived])
        {
            var report = await RunAsync(_ => Assert.Equal(0, accumulator.Value));
            Assert.Contains("known in the driver only", Assert.IsType<TaskFailed>(report.End).Error.Message, StringComparison.Ordinal);
            report = await RunAsync(_ => accumulator.Reset());
            Assert.Contains("in the driver only", Assert.IsType<TaskFailed>(report.End).Error.Message, StringComparison.Ordinal);
        }
        Assert.Equal(0, mine.Value);
    }

    [Fact]
    public async Task Adding_outside_a_task_or_after_its_end_is_an_error()
    {
        var accumulator = Arrived(Sum());
        var late = new TaskCompletionSource<Exception?>();
        var ended = new TaskCompletionSource();

        Assert.Contains("outside a task", Assert.Throws<InvalidOperationException>(() => accumulator.Add(1)).Message, StringComparison.Ordinal);
        await RunAsync(task =>
        {
            accumulator.Add(1);
            _ = Task.Run(async () =>
            {
                await ended.Task;
                late.SetResult(Record.Exception(() => accumulator.Add(1)));
            });
        });
        ended.SetResult();

        Assert.Contains("after the end of the task", Assert.IsType<InvalidOperationException>(await late.Task).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_driver_adds_to_the_value_itself()
    {
        var accumulator = new Accumulator<string, AccumulatedItems<string>>(new AccumulatorTotal<string, AccumulatedItems<string>>(0, "", new ItemsRule<string>(10)));

        accumulator.Add("a");
        var before = accumulator.Value;
        accumulator.Add("b");

        Assert.Equal(["a"], before.Items);
        Assert.Equal(["a", "b"], accumulator.Value.Items);
        accumulator.Reset();
        Assert.Empty(accumulator.Value.Items);
    }

    [Fact]
    public async Task A_rule_of_ones_own_travels_with_what_it_holds()
    {
        var total = new AccumulatorTotal<string, Dictionary<string, int>>(0, "words", new WordCounts(minimumLength: 2));
        var accumulator = Arrived(total);

        var report = await RunAsync(_ =>
        {
            foreach (var word in (string[])["to", "be", "or", "a", "to"])
            {
                accumulator.Add(word);
            }
        });
        total.Merge(Stage, report.Accumulators![0]);
        total.Merge(new StageId(1), report.Accumulators![0]);

        Assert.Equal(new Dictionary<string, int> { ["to"] = 4, ["be"] = 2, ["or"] = 2 }, total.Read());
        var snapshot = total.Snapshot();
        Assert.Equal(("words", 2), (snapshot.Name, snapshot.Stages.Count));
    }

    [Fact]
    public void A_merge_that_throws_says_which_accumulator_and_what()
    {
        var total = new AccumulatorTotal<long, long>(4, "broken", new Broken());
        var change = new byte[] { 1, 5 };

        var error = Assert.Throws<AccumulatorException>(() => total.Merge(Stage, change));

        Assert.Contains("Accumulator 'broken'", error.Message, StringComparison.Ordinal);
        Assert.Contains("System.DivideByZeroException", error.Message, StringComparison.Ordinal);
        Assert.IsType<AccumulatorException>(Record.Exception(() => Sum().Merge(Stage, new byte[] { 1, 0xc1 })));
        Assert.IsType<AccumulatorException>(Record.Exception(() => Sum().Merge(Stage, Array.Empty<byte>())));
    }

    [Fact]
    public void Only_the_latest_stages_of_a_named_one_are_kept()
    {
        var total = Sum();
        var unnamed = Sum(name: "");
        var change = new byte[] { 1, 2 };
        for (var stage = 0; stage < 150; stage++)
        {
            total.Merge(new StageId(stage), change);
            total.Merge(new StageId(stage), change);
            unnamed.Merge(new StageId(stage), change);
        }

        Assert.Equal((600, 300), (total.Read(), unnamed.Read()));
        Assert.Equal(100, total.Snapshot().Stages.Count);
        Assert.Equal((new StageId(149), "4"), total.Snapshot().Stages[^1]);
        Assert.Empty(unnamed.Snapshot().Stages);
        Assert.Equal("600", total.Snapshot().Value);
    }

    private sealed class WordCounts(int minimumLength) : AccumulatorRule<string, Dictionary<string, int>>
    {
        private readonly int minimumLength = minimumLength;

        public override Dictionary<string, int> Zero() => [];

        public override Dictionary<string, int> Add(Dictionary<string, int> value, string added)
        {
            if (added.Length >= minimumLength)
            {
                value[added] = value.GetValueOrDefault(added) + 1;
            }
            return value;
        }

        public override Dictionary<string, int> Merge(Dictionary<string, int> value, Dictionary<string, int> other)
        {
            foreach (var (word, count) in other)
            {
                value[word] = value.GetValueOrDefault(word) + count;
            }
            return value;
        }
    }

    private sealed class Broken : AccumulatorRule<long, long>
    {
        public override long Zero() => 0;

        public override long Add(long value, long added) => value + added;

        public override long Merge(long value, long other) => throw new DivideByZeroException();
    }
}
