namespace Yarnish.Dataflow;

/// <summary>Bugs that can be switched on, to prove that the simulation sees them. Off in every real machine: the switch is internal to the tests.</summary>
internal enum PlantedJobBug
{
    /// <summary>None.</summary>
    None,

    /// <summary>Every success of a partition applies its accumulators.</summary>
    CountedTwice,

    /// <summary>What ran on a lost executor does not wait again.</summary>
    ForgottenAttempt,

    /// <summary>What was computed from output that cannot be written again alike is kept.</summary>
    NoRollBack,

    /// <summary>A barrier stage starts with the slots there are.</summary>
    HalfBarrier,

    /// <summary>Who says twice that it has come to a barrier counts twice.</summary>
    ArrivedTwice,

    /// <summary>A release of a barrier is told once only.</summary>
    ReleasedOnce,

    /// <summary>Half of what a barrier stage wrote is kept when it starts again.</summary>
    HalfBarrierOutput,

    /// <summary>What is no longer needed of a shuffle stays.</summary>
    LeakedShuffle,

    /// <summary>A hello that does not name an attempt is not taken for its loss.</summary>
    UnreadHello,

    /// <summary>Idle executors are never given back.</summary>
    IdleForEver,

    /// <summary>Executors are asked for after the tasks are gone.</summary>
    AsksForEver,

    /// <summary>The result of an attempt that nobody wants any more is handed out, too.</summary>
    ResultTwice,
}
