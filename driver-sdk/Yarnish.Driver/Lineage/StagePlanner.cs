using System.Runtime.InteropServices;
using Yarnish.Executor;
using Yarnish.Jobs;
using Yarnish.Operators;

namespace Yarnish.Lineage;

/// <summary>
/// Cuts a lineage into stages at its shuffles. Uses its own stacks, not recursion: lineages grow by loops in user code and may be ten thousand steps deep.
/// </summary>
internal static class StagePlanner
{
    /// <summary>Prepares whatever the node depends on, deepest first.</summary>
    public static async Task PrepareAsync(LineageNode root, CancellationToken cancellation)
    {
        foreach (var item in LineageParentsFirst(root))
        {
            if ((item as ShuffleDependency)?.Preparation is { } ofShuffle)
            {
                await ofShuffle.RunAsync(cancellation).ConfigureAwait(false);
            }
            else if ((item as LineageNode)?.Preparation is { } ofNode)
            {
                await ofNode.RunAsync(cancellation).ConfigureAwait(false);
            }
        }
    }

    /// <summary>The plan of an action on a node. <see cref="PrepareAsync"/> must have run.</summary>
    public static JobPlan Plan<T>(LineageNode root, string name, ResultAction<T> action, IReadOnlyList<int>? partitions, Action<int, ReadOnlyMemory<byte>> onResult)
    {
        using var whole = LineageNode.Gate.EnterScope();
        var stages = new List<StagePlan>();
        foreach (var shuffle in ShufflesParentsFirst(root))
        {
            stages.Add(Stage(shuffle.Map, graph => new ShuffleMapProgram(graph, shuffle.Shuffle, shuffle.Reducers, shuffle.Write), shuffle));
        }
        stages.Add(Stage(root, graph => new ResultProgram<T>(graph, action), null));
        if (stages[^1].Barrier && partitions is not null && partitions.Count < root.Partitions)
        {
            throw new InvalidOperationException(
                $"{name} reads some partitions of a barrier collection only, but its tasks run all together or not at all. Use CollectAsync, CountAsync or another action that reads all of it, "
                + "or put a shuffle such as Repartition behind it.");
        }
        return new JobPlan { Name = name, Stages = stages, Partitions = partitions, OnResult = onResult };
    }

    private static StagePlan Stage(LineageNode root, Func<StageGraph, StageProgram> program, ShuffleDependency? output)
    {
        var nodes = StepsParentsFirst(root);
        var indexes = new Dictionary<LineageNode, int>(nodes.Count, ReferenceEqualityComparer.Instance);
        for (var i = 0; i < nodes.Count; i++)
        {
            indexes.Add(nodes[i], i);
        }
        var steps = nodes.Select(node => new StageGraph.Step
        {
            Operator = node.Operator,
            Inputs = [.. node.Parents.Select(parent => indexes[parent])],
            Collection = node.Collection,
            Level = node.Level,
        }).ToArray();

        var barrier = nodes.FirstOrDefault(node => node.Barrier);
        if (barrier is not null && nodes.FirstOrDefault(node => node.Barrier && node.Partitions != root.Partitions) is { } narrowed)
        {
            throw new InvalidOperationException(
                $"{root} has {root.Partitions} partitions and reads {narrowed}, whose {narrowed.Partitions} tasks must run all together: one task for each partition. Put a shuffle such as Repartition between them.");
        }
        var hasInput = nodes.Any(node => node.Input is not null);
        // As they are now: tasks are sent later, when some of them may be cut.
        var plan = nodes.Select((node, i) => new PlannedStep(node.Input, node.ParentPartitions, steps[i].Inputs, node.Collection)).ToArray();
        return new StagePlan
        {
            Name = output is null ? root.ToString() : $"{root} → shuffle {output.Shuffle}",
            Partitions = root.Partitions,
            Program = program(new StageGraph(steps)),
            Output = output is null ? null : (output.Shuffle, output.Reducers),
            Inputs = [.. nodes.SelectMany(node => node.Shuffles).Select(shuffle => shuffle.Shuffle).Distinct()],
            PartitionInput = hasInput ? partition => SourceInputs(plan, partition) : null,
            Persisted = [.. nodes.Where(static node => node.Collection is not null)
                .Select(static node => new PersistedCollection(node.Collection!.Value, node.ToString(), node.Level, node.Partitions))],
            PersistedParts = nodes.Exists(static node => node.Collection is not null) && nodes.Exists(static node => node.ParentPartitions is not null)
                ? partition => PersistedParts(plan, partition) : null,
            Steps = nodes,
            Barrier = barrier is not null,
            Indeterminate = output is { Indeterminate: true } && nodes.Any(node => node.Unordered),
        };
    }

    /// <summary>The frames of every source that one partition of the root, the last step, reads.</summary>
    private static ReadOnlyMemory<byte> SourceInputs(PlannedStep[] steps, int partition)
    {
        var frames = new List<byte>();
        var seen = new HashSet<(int, int)>();
        var stack = new Stack<(int Step, int Partition)>();
        stack.Push((steps.Length - 1, partition));
        while (stack.TryPop(out var next))
        {
            var (step, index) = next;
            if (steps[step].Input is { } input && seen.Add((step, index)))
            {
                StageInputs.Append(frames, step, index, input(index).Span);
            }
            if (steps[step].ParentPartitions is { } map)
            {
                foreach (var (parent, parentPartition) in map(index))
                {
                    stack.Push((steps[step].Parents[parent], parentPartition));
                }
            }
            else
            {
                foreach (var parent in steps[step].Parents)
                {
                    stack.Push((parent, index));
                }
            }
        }
        return frames.Count == 0 ? default : CollectionsMarshal.AsSpan(frames).ToArray();
    }

    /// <summary>The partitions of persisted collections that one partition of the root reaches, the nearest to it last. What lies behind a persisted one is not looked at.</summary>
    private static List<(int Collection, int Partition)> PersistedParts(PlannedStep[] steps, int partition)
    {
        var found = new List<(int Collection, int Partition)>();
        var seen = new HashSet<(int, int)>();
        var stack = new Stack<(int Step, int Partition)>();
        stack.Push((steps.Length - 1, partition));
        while (stack.TryPop(out var next))
        {
            var (step, index) = next;
            if (!seen.Add(next))
            {
                continue;
            }
            if (steps[step].Collection is { } collection)
            {
                found.Add((collection, index));
                continue;
            }
            if (steps[step].ParentPartitions is { } map)
            {
                foreach (var (parent, parentPartition) in map(index))
                {
                    stack.Push((steps[step].Parents[parent], parentPartition));
                }
                continue;
            }
            foreach (var parent in steps[step].Parents)
            {
                stack.Push((parent, index));
            }
        }
        return found;
    }

    private readonly record struct PlannedStep(
        Func<int, ReadOnlyMemory<byte>>? Input, Func<int, IEnumerable<(int Parent, int Partition)>>? ParentPartitions, int[] Parents, int? Collection);

    /// <summary>The nodes of one stage: <paramref name="root"/> and what it reaches without crossing a shuffle, inputs before readers.</summary>
    private static List<LineageNode> StepsParentsFirst(LineageNode root) => ParentsFirst(root, node => node.Parents);

    /// <summary>Every shuffle the node depends on, also through other shuffles, written ones before those that read them.</summary>
    private static IEnumerable<ShuffleDependency> ShufflesParentsFirst(LineageNode root) => LineageParentsFirst(root).OfType<ShuffleDependency>();

    /// <summary>Every node and shuffle the node depends on, and itself: they form one graph, walked depth first.</summary>
    private static List<object> LineageParentsFirst(LineageNode root) => ParentsFirst<object>(root, static item => item switch
    {
        LineageNode node => [.. node.Parents, .. node.Shuffles],
        ShuffleDependency shuffle => [shuffle.Map],
        _ => [],
    });

    private static List<TItem> ParentsFirst<TItem>(TItem root, Func<TItem, IReadOnlyList<TItem>> parents)
        where TItem : class
    {
        var order = new List<TItem>();
        var visited = new HashSet<TItem>(ReferenceEqualityComparer.Instance);
        var stack = new Stack<(TItem Item, int NextParent)>();
        visited.Add(root);
        stack.Push((root, 0));
        while (stack.TryPop(out var top))
        {
            var above = parents(top.Item);
            if (top.NextParent == above.Count)
            {
                order.Add(top.Item);
                continue;
            }
            stack.Push((top.Item, top.NextParent + 1));
            if (visited.Add(above[top.NextParent]))
            {
                stack.Push((above[top.NextParent], 0));
            }
        }
        return order;
    }
}
