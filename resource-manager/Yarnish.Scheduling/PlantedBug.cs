namespace Yarnish.Scheduling;

/// <summary>Bugs that can be switched on, to prove that the simulation sees them. Off in every real machine: the switch is internal to the tests.</summary>
internal enum PlantedBug
{
    /// <summary>None.</summary>
    None,

    /// <summary>A node is given more than it has.</summary>
    OverAllocation,

    /// <summary>A grant is not counted against its ask.</summary>
    DoubleGrant,

    /// <summary>A driver is not told of containers that a lost node took along.</summary>
    LostCompletion,

    /// <summary>The share of a queue is not moved when it changes.</summary>
    WrongShare,

    /// <summary>Limits of users are not looked at.</summary>
    SkippedLimit,

    /// <summary>The maximum of a queue is not looked at.</summary>
    SkippedMaximum,

    /// <summary>A gang gets what fits.</summary>
    HalfGang,

    /// <summary>Room that is freed wakes nobody.</summary>
    MissedWake,

    /// <summary>Container ids of an earlier life are used again.</summary>
    ReusedId,

    /// <summary>A container that was told as ended is taken for live again.</summary>
    AdoptedTwice,

    /// <summary>Containers of an application that is over are not stopped.</summary>
    ForgottenStop,

    /// <summary>A draining node gets containers.</summary>
    GrantOnDraining,

    /// <summary>Ends are acknowledged without being recorded.</summary>
    UnrecordedExit,

    /// <summary>Containers are granted before the nodes are back after a restart.</summary>
    NoSettling,

    /// <summary>Anti-affinity is not looked at.</summary>
    IgnoredConstraint,
}
