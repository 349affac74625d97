using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>Where an attempt is: it only moves forward.</summary>
internal enum AttemptState : byte
{
    /// <summary>Waits for a slot.</summary>
    Queued,

    /// <summary>Has a slot.</summary>
    Running,

    /// <summary>Has a report.</summary>
    Ended,
}

/// <summary>One admitted attempt. State, report and confirmation belong to the <see cref="AttemptTable"/>'s lock.</summary>
internal sealed class Attempt(TaskBatch batch, TaskAssignment task, StageTrace? trace, long admitted)
{
    /// <summary>What came with it.</summary>
    public TaskBatch Batch { get; } = batch;

    /// <summary>The task.</summary>
    public TaskAssignment Task { get; } = task;

    /// <summary>Null when the stage is not traced.</summary>
    public StageTrace? Trace { get; } = trace;

    /// <summary>When it was admitted, in stopwatch ticks.</summary>
    public long Admitted { get; } = admitted;

    /// <summary>The id.</summary>
    public TaskAttemptId Id => Task.AttemptId;

    /// <summary>Where it is.</summary>
    public AttemptState State { get; set; }

    /// <summary>Stops it; set while it runs.</summary>
    public CancellationTokenSource? Stop { get; set; }

    /// <summary>Why it shall stop; null while it shall not.</summary>
    public string? StopReason { get; set; }

    /// <summary>How it ended; null before.</summary>
    public TaskReport? Report { get; set; }

    /// <summary>Whether the broker has the report.</summary>
    public bool Confirmed { get; set; }
}
