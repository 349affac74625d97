using System.Diagnostics;
using Yarnish.Protocol;

namespace Yarnish.Jobs;

/// <summary>A job from its submission to its end, as the driver loop keeps it.</summary>
internal sealed class RunningJob(JobPlan plan, CancellationToken cancellation)
{
    private readonly TaskCompletionSource completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Its number; set by the loop.</summary>
    public JobId Id { get; set; }

    /// <summary>What it runs.</summary>
    public JobPlan Plan { get; } = plan;

    /// <summary>Who may cancel it.</summary>
    public CancellationToken Cancellation { get; } = cancellation;

    /// <summary>Where its results go; set by the loop.</summary>
    public ResultPump Results { get; set; } = null!;

    /// <summary>The code of each stage, same order as the plan's.</summary>
    public required IReadOnlyList<StageCode> Codes { get; init; }

    /// <summary>Pool, group and description.</summary>
    public JobScope Scope { get; init; }

    /// <summary>Why it ends when <see cref="Cancellation"/> is cancelled.</summary>
    public string WhyCancelled => Scope.Group is { Reason: { } reason } ? reason : "cancelled by the program";

    /// <summary>Its span; null when not traced.</summary>
    public Activity? Activity { get; init; }

    /// <summary>When it was submitted, as a timestamp.</summary>
    public long Started { get; init; }

    /// <summary>Why it is being ended by the driver itself; null while it is not.</summary>
    public YarnishJobException? Failure { get; set; }

    /// <summary>The stage that computes its results; set when it starts.</summary>
    public StageId ResultStage { get; set; }

    /// <summary>Stage attempts started for it.</summary>
    public int Stages { get; set; }

    /// <summary>Tasks of those.</summary>
    public int Tasks { get; set; }

    /// <summary>Ends with it.</summary>
    public Task Completion => completion.Task;

    /// <summary><c>3 (CountAsync at Program.cs:12)</c>.</summary>
    public string Title => $"{Id} ({Plan.Name})";

    public void Succeed() => completion.TrySetResult();

    public void Fail(Exception error) => completion.TrySetException(error);

    /// <summary>Its caller sees an <see cref="OperationCanceledException"/> with the reason.</summary>
    public void Cancel(string reason) => completion.TrySetException(new OperationCanceledException(
        $"Job {Title} ended early: {reason}.", Cancellation.IsCancellationRequested ? Cancellation : new CancellationToken(canceled: true)));
}
