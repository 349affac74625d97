namespace Yarnish.Dataflow;

/// <summary>Settings of <see cref="JobMachine"/>. Defaults after research where the anchors disagree, see README.</summary>
internal sealed record JobMachineOptions
{
    /// <summary>A partition that fails this often fails its jobs. Default 4.</summary>
    public int TaskFailureLimit { get; init; } = 4;

    /// <summary>A stage whose input is lost in this many attempts in a row fails its jobs. Default 4.</summary>
    public int StageAttemptLimit { get; init; } = 4;

    /// <summary>Between the first lost input and the new attempt, so that many failures become one. Default 200 ms.</summary>
    public TimeSpan ResubmitDelay { get; init; } = TimeSpan.FromMilliseconds(200);

    /// <summary>An executor that is silent this long is given up, unless the link is interrupted. Default 15 s.</summary>
    public TimeSpan ExecutorTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a task waits for an executor near its data that is about to be free. Default 300 ms.</summary>
    public TimeSpan LocalityWait { get; init; } = TimeSpan.FromMilliseconds(300);

    /// <summary>Most tasks in one message. Default 64.</summary>
    public int BatchLimit { get; init; } = 64;

    /// <summary>Most tasks in flight to one executor. Default 512.</summary>
    public int WindowLimit { get; init; } = 512;

    /// <summary>Tasks whose mean is longer than this are only sent to free slots. Default 50 ms.</summary>
    public TimeSpan LongTask { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>Whether slow tasks get a second attempt elsewhere. Default false.</summary>
    public bool Speculation { get; init; }

    /// <summary>Share of a stage, in percent, that must be done before any task counts as slow. Default 90.</summary>
    public int SpeculationQuantilePercent { get; init; } = 90;

    /// <summary>A task is slow when it runs this many percent of the median. Default 300.</summary>
    public int SpeculationMultiplierPercent { get; init; } = 300;

    /// <summary>No task is slow before this. Default 100 ms; also the interval between looks.</summary>
    public TimeSpan SpeculationMinimum { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Whether executors and nodes on which tasks fail are avoided. Default true; of no use with a single executor.</summary>
    public bool Exclusion { get; init; } = true;

    /// <summary>Tasks that fail on one executor before a stage avoids it, and before the application does. Default 2.</summary>
    public int ExclusionFailures { get; init; } = 2;

    /// <summary>How long an executor or node is avoided by the application. Default 1 h.</summary>
    public TimeSpan ExclusionTime { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How long tasks wait while all executors are excluded, and how long a barrier stage waits for executors that have enough slots together, before the job fails. Default 120 s.</summary>
    public TimeSpan NowhereToRunTimeout { get; init; } = TimeSpan.FromSeconds(120);

    /// <summary>Most slots there can ever be at the same time; null when nobody knows. A barrier stage that needs more fails at once.</summary>
    public int? SlotLimit { get; init; }

    /// <summary>How long an executor that leaves may take to bring its persisted partitions to safety, once it has no tasks. Default 30 s; copies that take longer are given up.</summary>
    public TimeSpan LeaveTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How often a persisted partition is tried to be copied to another node. Default 3.</summary>
    public int CopyTries { get; init; } = 3;

    /// <summary>Copies of persisted partitions one executor makes at once. Default 8.</summary>
    public int CopiesPerExecutor { get; init; } = 8;

    /// <summary>For the simulation's own test only.</summary>
    public PlantedJobBug Planted { get; init; }

    /// <summary>How executors are asked for. Null: the shell holds what it holds, no <see cref="ExecutorsWanted"/> is ever emitted.</summary>
    public AllocationOptions? Allocation { get; init; }
}

/// <summary>How many executors an application asks for.</summary>
internal sealed record AllocationOptions
{
    /// <summary>True: as many as the waiting tasks need, between the bounds. False: always <see cref="Initial"/>. Default true.</summary>
    public bool Dynamic { get; init; } = true;

    /// <summary>Executors asked for at the start, and always when not dynamic. Default 1.</summary>
    public int Initial { get; init; } = 1;

    /// <summary>Never fewer. Default 0.</summary>
    public int Minimum { get; init; }

    /// <summary>Never more. Default 10,000.</summary>
    public int Maximum { get; init; } = 10_000;

    /// <summary>Slots of an executor that has not joined yet. Default 1.</summary>
    public int SlotsPerExecutor { get; init; } = 1;

    /// <summary>Tasks must wait this long before more executors are asked for, and again before each doubling. Default 1 s.</summary>
    public TimeSpan Backlog { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>An executor without tasks is given back after this. Default 60 s.</summary>
    public TimeSpan Idle { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The same for one that holds persisted partitions. Default 30 min.</summary>
    public TimeSpan IdleWithCache { get; init; } = TimeSpan.FromMinutes(30);
}
