using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Containers;

/// <summary>Gives each end of a container its one cause. Somebody's decision to end it goes before anything the process did on its way out.</summary>
internal static class ExitJudge
{
    /// <summary>Most characters of diagnostics.</summary>
    public const int MaximumDiagnostics = 4096;

    /// <summary>Judges the end of a process.</summary>
    /// <param name="record">The container, with the decision to end it if there was one.</param>
    /// <param name="end">What is known.</param>
    /// <param name="killed">Whether the agent sent SIGKILL.</param>
    public static ContainerExit Judge(ContainerRecord record, ProcessEnd end, bool killed)
    {
        var code = end.ExitCode ?? -1;
        var (cause, what) = (record.StopCause, end) switch
        {
            ({ } decided, _) => (decided, Decision(record, end, killed)),
            (_, { OutOfMemory: { Length: > 0 } used }) => (ContainerExitCause.OutOfMemory, used),
            (_, { ExitCode: null }) => (ContainerExitCause.Unknown,
                "The process is gone and nobody wrote down its exit code: its launcher was killed, or the machine restarted."),
            (_, { ExitCode: 0 }) => (ContainerExitCause.Completed, ""),
            (_, { DiskFull: true }) => (ContainerExitCause.DiskFull,
                $"The process ended with code {code} while the disk of the node was full. Free space under the agent's data directory, or give it a larger disk."),
            // A shell hands on 128 + signal of its child as a code of its own, so a script that ends with such a code counts as killed too.
            (_, { ExitCode: > 128 and <= 128 + 64 }) => (ContainerExitCause.KilledBySignal, $"Signal {SignalName(code - 128)} ended the process, and Yarnish did not send it."),
            _ => (ContainerExitCause.Failed, $"The process ended with code {code}."),
        };
        return new ContainerExit(cause, code, Diagnostics(what, end.Note, end.StandardErrorTail)) { InHand = end.InHand };
    }

    /// <summary>The end of a container that never had a process.</summary>
    public static ContainerExit WithoutProcess(ContainerExitCause cause, string reason) => new(cause, -1, Diagnostics(reason, "", ""));

    private static string Decision(ContainerRecord record, ProcessEnd end, bool killed)
    {
        var how = (end.ExitCode, killed) switch
        {
            (_, true) => "It was ended by SIGKILL.",
            (null, _) => "Its exit code is not known.",
            ({ } code, _) => $"It ended with code {code}.",
        };
        return record.StopReason.Length == 0 ? how : $"{record.StopReason} {how}";
    }

    private static string Diagnostics(string what, string note, string tail)
    {
        var head = string.Join(' ', new[] { what, note }.Where(part => part.Length > 0));
        if (head.Length > MaximumDiagnostics / 2)
        {
            head = head[..(MaximumDiagnostics / 2 - 1)] + "…";
        }
        if (tail.Length == 0)
        {
            return head;
        }
        const string title = "stderr ends with:\n";
        var room = MaximumDiagnostics - head.Length - title.Length - 1;
        return (head.Length == 0 ? "" : head + "\n") + title + (tail.Length > room ? tail[^room..] : tail);
    }

    private static string SignalName(int signal) => signal switch
    {
        1 => "1 (SIGHUP)",
        2 => "2 (SIGINT)",
        3 => "3 (SIGQUIT)",
        4 => "4 (SIGILL)",
        6 => "6 (SIGABRT)",
        7 => "7 (SIGBUS)",
        8 => "8 (SIGFPE)",
        9 => "9 (SIGKILL)",
        11 => "11 (SIGSEGV)",
        13 => "13 (SIGPIPE)",
        15 => "15 (SIGTERM)",
        _ => $"{signal}",
    };
}
