using System.Collections.Immutable;

namespace Yarnish.Protocol;

/// <summary>One error of a queue file.</summary>
/// <param name="Line">Its line, from 1.</param>
/// <param name="Key">The key it is about, such as <c>root.queues[1].maximum</c>; empty for the file as a whole.</param>
/// <param name="Message">What is wrong and what to do.</param>
public sealed record QueueFileError(int Line, string Key, string Message)
{
    /// <inheritdoc/>
    public override string ToString() => Key.Length == 0 ? $"line {Line}: {Message}" : $"line {Line}, {Key}: {Message}";
}

/// <summary>One key in which two configurations differ.</summary>
/// <param name="Key">A queue's path, a queue's path and a key of it, or a key of the whole file.</param>
/// <param name="Before">Its value in force; null when it is new.</param>
/// <param name="After">Its proposed value; null when it goes.</param>
public sealed record QueueChange(string Key, string? Before, string? After);

/// <summary><c>POST /api/v1/queues/validate</c>: what is wrong with a queue file, or what it would change.</summary>
/// <param name="Valid">Whether it could be put into force now.</param>
/// <param name="Errors">Every error; empty when valid.</param>
/// <param name="Changes">What it would change; empty when not valid.</param>
public sealed record QueueCheck(bool Valid, ImmutableArray<QueueFileError> Errors, ImmutableArray<QueueChange> Changes);

/// <summary><c>PUT /api/v1/queues</c>, 200: the new queues are in force.</summary>
/// <param name="Version">Version of the configuration in this life of the resource manager.</param>
/// <param name="Changes">What changed.</param>
/// <param name="Lasts">How long they last, for people: they are journaled, or the queue file wins at its next change or restart.</param>
public sealed record QueueUpdate(int Version, ImmutableArray<QueueChange> Changes, string Lasts);

/// <summary><c>PUT /api/v1/queues</c>, 400: nothing was changed. An <see cref="ErrorInfo"/> with the errors one by one.</summary>
/// <param name="Error">All of it in one text for people.</param>
/// <param name="Code"><c>invalid</c>, or <c>in-use</c> when a queue that holds applications would go.</param>
/// <param name="Errors">Every error.</param>
public sealed record QueueRefusal(string Error, string Code, ImmutableArray<QueueFileError> Errors);

/// <summary><c>GET /api/v1/queues</c>: the queues in force and what happens in them.</summary>
public sealed record QueuesInfo
{
    /// <summary>Version of the configuration in this life of the resource manager.</summary>
    public required int Version { get; init; }

    /// <summary>Where it came from: <c>default</c>, <c>file</c>, <c>journal</c> or <c>api</c>.</summary>
    public required string Source { get; init; }

    /// <summary>The watched queue file; empty when none is.</summary>
    public required string File { get; init; }

    /// <summary>When it came into force.</summary>
    public required DateTimeOffset AppliedAt { get; init; }

    /// <summary>What is wrong with the watched file as it is now, with line and key; empty when nothing is. The queues in force are untouched by it.</summary>
    public required string Problem { get; init; }

    /// <summary>The YAML in force; empty for the default.</summary>
    public required string Text { get; init; }

    /// <summary>Every queue, parents before children.</summary>
    public required ImmutableArray<QueueDetails> Queues { get; init; }
}

/// <summary>One queue.</summary>
public sealed record QueueDetails
{
    /// <summary>Full path.</summary>
    public required QueueName Name { get; init; }

    /// <summary>Whether applications live in it.</summary>
    public required bool Leaf { get; init; }

    /// <summary><c>running</c>, <c>draining</c> or <c>stopped</c>; the strictest of it and those above.</summary>
    public required string State { get; init; }

    /// <summary>Its guarantee as configured, for people; empty when it says none.</summary>
    public required string ConfiguredGuarantee { get; init; }

    /// <summary>Its maximum as configured, for people; empty when it says none.</summary>
    public required string ConfiguredMaximum { get; init; }

    /// <summary>What it has by right, by partition; the default partition is the empty name.</summary>
    public required ImmutableSortedDictionary<string, Resources> Guarantee { get; init; }

    /// <summary>What it may hold at most, by partition; a resource that is not named has no bound.</summary>
    public required ImmutableSortedDictionary<string, Resources> Maximum { get; init; }

    /// <summary>What is granted in it, by partition.</summary>
    public required ImmutableSortedDictionary<string, Resources> Allocated { get; init; }

    /// <summary>The dominant resource's usage in percent of the guarantee, in the default partition; null when it uses what it has no guarantee of, 0 when it uses nothing.</summary>
    public required double? UsedPercent { get; init; }

    /// <summary>Live applications in it.</summary>
    public required int Applications { get; init; }

    /// <summary>Of them, those that may be granted something.</summary>
    public required int ActiveApplications { get; init; }

    /// <summary>Containers asked for and not granted.</summary>
    public required int Outstanding { get; init; }
}

/// <summary>Why an ask waits, typed.</summary>
/// <param name="Kind">Stable code, such as <c>queueMaximum</c> or <c>notEnoughFree</c>.</param>
/// <param name="Count">How many nodes it blocks, for reasons about nodes; else 0.</param>
/// <param name="Subject">What blocks: a resource, queue, user, group, tag, attribute or node; may be empty.</param>
/// <param name="Need">How much is needed, in base units.</param>
/// <param name="Have">How much there is.</param>
/// <param name="Limit">The limit it runs into; 0 when there is none.</param>
/// <param name="Text">For people, with numbers and what would unblock it.</param>
public sealed record WaitingCause(string Kind, int Count, string Subject, long Need, long Have, long Limit, string Text);

/// <summary><c>GET /api/v1/apps/{id}/why</c>: what an application waits for.</summary>
/// <param name="Id">The application.</param>
/// <param name="Name">Its name.</param>
/// <param name="State">Its state.</param>
/// <param name="Queue">Its queue.</param>
/// <param name="Outstanding">Containers not granted yet, over all asks.</param>
/// <param name="Asks">Every ask, waiting or not.</param>
public sealed record ApplicationWhy(ApplicationId Id, string Name, string State, QueueName Queue, int Outstanding, ImmutableArray<AskWhy> Asks);

/// <summary>One ask and why it waits.</summary>
/// <param name="AskId">The ask.</param>
/// <param name="Resources">Of each container.</param>
/// <param name="Desired">Live containers wanted.</param>
/// <param name="Live">Live containers.</param>
/// <param name="Outstanding">Containers not granted yet.</param>
/// <param name="Impossible">Whether waiting longer cannot help.</param>
/// <param name="Sentence">Why it waits and what would unblock it; empty when it does not wait.</param>
/// <param name="Causes">The same, typed, the one that blocks first.</param>
public sealed record AskWhy(long AskId, Resources Resources, int Desired, int Live, int Outstanding, bool Impossible, string Sentence, ImmutableArray<WaitingCause> Causes);

/// <summary><c>POST /api/v1/plan</c>: would this fit?</summary>
/// <param name="Resources">Of each container.</param>
/// <param name="Count">How many; 1 to 100,000.</param>
public sealed record PlanRequest(Resources Resources, int Count)
{
    /// <summary>The queue; empty lets the placement rules choose.</summary>
    public string Queue { get; init; } = "";

    /// <summary>Who would ask; empty for nobody in particular.</summary>
    public string User { get; init; } = "";

    /// <summary>Partition of nodes; empty is the default one.</summary>
    public string Partition { get; init; } = "";

    /// <summary>Priority of the application.</summary>
    public int Priority { get; init; }
}

/// <summary>What would come of a plan.</summary>
/// <param name="Fits">Whether every container would be granted at once.</param>
/// <param name="Refusal">Why the application itself would be refused; empty when it would not.</param>
/// <param name="Granted">Containers granted at once.</param>
/// <param name="Places">Where.</param>
/// <param name="Waiting">Why the rest would wait and what would unblock it; null when nothing would.</param>
/// <param name="Preempted">What would be taken back for it, once it waited long enough.</param>
public sealed record PlanAnswer(
    bool Fits, string Refusal, int Granted, ImmutableArray<PlannedPlace> Places, AskWhy? Waiting, ImmutableArray<PlannedPreemption> Preempted);

/// <summary>Containers on one node.</summary>
/// <param name="NodeId">The node.</param>
/// <param name="Containers">How many.</param>
public sealed record PlannedPlace(NodeId NodeId, int Containers);

/// <summary>A container that would be taken back.</summary>
/// <param name="ContainerId">The container.</param>
/// <param name="ApplicationId">Whose it is.</param>
/// <param name="NodeId">Where it is.</param>
/// <param name="For">The application it would be taken back for.</param>
/// <param name="Reason">Why, as its owner would be told.</param>
public sealed record PlannedPreemption(ContainerId ContainerId, ApplicationId ApplicationId, NodeId NodeId, ApplicationId For, string Reason);

/// <summary><c>POST /api/v1/what-if</c>: what to suppose; what is left out stays as it is.</summary>
public sealed record WhatIfRequest
{
    /// <summary>How many nodes join; at most 10,000.</summary>
    public int AddNodes { get; init; }

    /// <summary>What each of them offers.</summary>
    public Resources? Node { get; init; }

    /// <summary>The partition they join; empty is the default one.</summary>
    public string Partition { get; init; } = "";

    /// <summary>Nodes that are lost.</summary>
    public ImmutableArray<NodeId> RemoveNodes { get; init; } = [];

    /// <summary>New weights by path of the queue.</summary>
    public ImmutableSortedDictionary<string, decimal> Weights { get; init; } = ImmutableSortedDictionary.Create<string, decimal>(StringComparer.Ordinal);

    /// <summary>Another queue file (YAML) in place of the one in force; empty keeps it.</summary>
    public string Queues { get; init; } = "";

    /// <summary>Applications that end: ids, or prefixes that fit only one.</summary>
    public ImmutableArray<string> Kill { get; init; } = [];
}

/// <summary>What would come of it.</summary>
/// <param name="Refusal">Why the supposition itself is impossible; empty when it is not.</param>
/// <param name="Grants">What would be granted at once.</param>
/// <param name="Waiting">What would still wait, at most 1,000.</param>
/// <param name="Preempted">What would be taken back for what still waits.</param>
public sealed record WhatIfAnswer(
    string Refusal, ImmutableArray<WhatIfGrant> Grants, ImmutableArray<WhatIfWait> Waiting, ImmutableArray<PlannedPreemption> Preempted);

/// <summary>Containers of one ask on one node.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="AskId">The ask.</param>
/// <param name="NodeId">The node.</param>
/// <param name="Containers">How many.</param>
public sealed record WhatIfGrant(ApplicationId ApplicationId, long AskId, NodeId NodeId, int Containers);

/// <summary>An ask that would wait.</summary>
/// <param name="ApplicationId">The application.</param>
/// <param name="AskId">The ask.</param>
/// <param name="Outstanding">Containers not granted.</param>
/// <param name="Impossible">Whether waiting longer cannot help.</param>
/// <param name="Sentence">Why, and what would unblock it.</param>
public sealed record WhatIfWait(ApplicationId ApplicationId, long AskId, int Outstanding, bool Impossible, string Sentence);

/// <summary><c>POST /api/v1/apps/{id}/move</c>.</summary>
/// <param name="Queue">The leaf to move to; null leaves it where it is.</param>
/// <param name="Priority">The new priority; null leaves it.</param>
public sealed record MoveRequest(string? Queue, int? Priority);

/// <summary><c>POST /api/v1/nodes/{id}/drain</c>: the body, which may be left out.</summary>
/// <param name="Reason">Why, for people; at most 1,000 characters.</param>
/// <param name="DeadlineSeconds">After so many seconds what still runs is stopped; null waits for ever.</param>
public sealed record DrainRequest(string? Reason, double? DeadlineSeconds);
