namespace Yarnish.NodeAgent.Containers;

/// <summary>
/// A process that cannot be mistaken for another one: its id together with its start time, because ids are used again. The launcher is the small
/// shell that waits for the process and writes down its exit code; both outlive the agent.
/// </summary>
/// <param name="ProcessId">Id of the process; also of its group and its session.</param>
/// <param name="StartTicks">Start time in clock ticks since boot, from <c>/proc/&lt;pid&gt;/stat</c>.</param>
/// <param name="LauncherId">Process id of the launcher.</param>
/// <param name="LauncherStartTicks">Start time of the launcher.</param>
internal sealed record ProcessIdentity(int ProcessId, long StartTicks, int LauncherId, long LauncherStartTicks);

/// <summary>What is known of the end of a process, before it is judged.</summary>
/// <param name="ExitCode">Exit code, 128 + signal when a signal ended it; null when nobody wrote it down.</param>
/// <param name="StandardErrorTail">The last characters of its stderr.</param>
internal sealed record ProcessEnd(int? ExitCode, string StandardErrorTail)
{
    /// <summary>Whether the disk of the node was full when the process ended.</summary>
    public bool DiskFull { get; init; }

    /// <summary>Set when the kernel killed it for memory: how much it used, for people.</summary>
    public string OutOfMemory { get; init; } = "";

    /// <summary>What its <see cref="Protocol.PostMortemPage"/> says; null when it left none.</summary>
    public string? InHand { get; init; }

    /// <summary>What the agent knows beyond the code, for people.</summary>
    public string Note { get; init; } = "";
}
