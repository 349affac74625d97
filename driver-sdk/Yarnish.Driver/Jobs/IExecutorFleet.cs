using System.Collections.Immutable;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Jobs;

/// <summary>
/// Where executors come from: one in this process, or containers of a cluster. Owned by the driver loop: every member but the start and the end is called on it, and none may block.
/// </summary>
internal interface IExecutorFleet : IAsyncDisposable
{
    /// <summary>Whether executors are processes of a cluster rather than this one.</summary>
    bool IsRemote { get; }

    /// <summary>How the job machine asks for executors; null when the fleet never changes.</summary>
    AllocationOptions? Allocation { get; }

    /// <summary>Task slots that a plan may count on when nobody has said hello yet.</summary>
    int ExpectedSlots { get; }

    /// <summary>What it waits for, for people; empty when for nothing worth telling.</summary>
    string Waiting(DateTimeOffset now);

    /// <summary>When <see cref="Tick"/> wants to be called; null when never.</summary>
    DateTimeOffset? NextWake { get; }

    /// <summary>Makes it work; what it learns later goes to the loop.</summary>
    /// <param name="loop">The loop; its inbox may be used from any thread.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="YarnishConnectException">It could not be reached, or refused.</exception>
    Task StartAsync(IFleetLoop loop, CancellationToken cancellation);

    /// <summary>A message that it posted itself through <see cref="IFleetLoop.PostAsync"/> comes back to it on the loop.</summary>
    void Handle(object message, DateTimeOffset now);

    /// <summary>Time has passed.</summary>
    void Tick(DateTimeOffset now);

    /// <summary>An executor said hello. False when it must go: it was released, or is not of this fleet.</summary>
    bool Accept(ExecutorHello hello, DateTimeOffset now);

    /// <summary>So many live executors are wanted.</summary>
    void Want(int count, ImmutableArray<NodeId> preferredNodes, DateTimeOffset now);

    /// <summary>This one is not needed any more.</summary>
    void Release(ExecutorId executor, DateTimeOffset now);

    /// <summary>Want nothing on these nodes.</summary>
    void Exclude(ImmutableArray<NodeId> nodes, DateTimeOffset now);

    /// <summary>A job came: what failed before may be tried again.</summary>
    void JobSubmitted(DateTimeOffset now);

    /// <summary>Ends what it holds, and says how the application ended.</summary>
    Task FinishAsync(bool succeeded, string diagnostics, ApplicationProgress progress);
}

/// <summary>What a fleet may ask of the driver loop.</summary>
internal interface IFleetLoop
{
    /// <summary>Puts a message into the inbox; it comes back through <see cref="IExecutorFleet.Handle"/>. From any thread; waits while the inbox is full.</summary>
    ValueTask PostAsync(object message);

    /// <summary>On the loop: tells the job machine.</summary>
    void Apply(JobEvent change);

    /// <summary>On the loop: fails every job that runs.</summary>
    /// <param name="why">The reason.</param>
    /// <param name="cure">What to do.</param>
    /// <param name="exitCode">See <see cref="YarnishException.ExitCode"/>.</param>
    void FailJobs(string why, string cure, int exitCode = 1);

    /// <summary>On the loop: nothing will ever run again; later jobs fail with the same words.</summary>
    void Abandon(string why, string cure, int exitCode = 1);

    /// <summary>On the loop: the summary that is shown to people.</summary>
    ApplicationProgress Summarize();
}
