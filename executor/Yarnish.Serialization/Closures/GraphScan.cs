using System.Reflection;
using System.Text;

namespace Yarnish.Serialization;

/// <summary>
/// Walks all that a graph reaches before a byte is written: refuses what cannot travel, with the path to it, and finds the captured variables that are read.
/// Breadth first, so that the shortest path is the one in the message and a chain of any length needs no stack.
/// </summary>
internal sealed class GraphScan : IValueVisitor
{
    /// <summary>More objects do not fit into <see cref="ClosureSerializer.MaxBytes"/>: no need to walk them.</summary>
    internal const int MaxObjects = 300_000;

    private readonly string subject;
    private readonly List<Node> nodes = [];
    private readonly Dictionary<object, int> numbers = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<(Module, int)> loaded = [];
    private readonly HashSet<Type> named = [];
    private readonly List<int> prunable = [];
    private readonly Stack<Step> inside = new();
    private bool keepsAll;
    private int owner = -1;

    private readonly int maximumObjects;
    private readonly string advice;

    private GraphScan(string subject, int maximumObjects, string advice) => (this.subject, this.maximumObjects, this.advice) = (subject, maximumObjects, advice);

    /// <summary>An object of the graph, and how it was first reached.</summary>
    public readonly record struct Node(object Value, Shape Shape, int Parent, Step[] Steps);

    /// <summary>All objects, the root first, each after the one it was reached from.</summary>
    public IReadOnlyList<Node> Nodes => nodes;

    /// <summary>Walks a graph.</summary>
    /// <param name="root">Where it begins.</param>
    /// <param name="subject">What a message begins with, such as <c>Where(line => …) at Program.cs:42</c>.</param>
    /// <param name="maximumObjects">More are refused.</param>
    /// <param name="advice">The cure for too many.</param>
    /// <exception cref="ClosureException">Something in it cannot travel.</exception>
    public static GraphScan Of(object root, string subject, int maximumObjects = MaxObjects, string advice = "")
    {
        var scan = new GraphScan(subject, maximumObjects, advice);
        scan.Reference(root, default);
        for (var node = 0; node < scan.nodes.Count; node++)
        {
            scan.Enter(node);
            if (node == scan.nodes.Count - 1)
            {
                // Functions found on the way may read variables that were passed over before.
                scan.VisitVariables();
            }
        }

        return scan;
    }

    /// <summary>Whether a field travels: only captured variables that no function of the graph reads stay behind.</summary>
    public bool IsLoaded(FieldInfo field) => keepsAll || loaded.Contains(FieldUse.KeyOf(field));

    /// <summary>The number of an object that was walked.</summary>
    public int NumberOf(object value) => numbers[value];

    /// <summary>The number of an object; false for values that have none.</summary>
    public bool TryNumberOf(object value, out int number) => numbers.TryGetValue(value, out number);

    /// <summary>Collects the objects that a value refers to from its place.</summary>
    public static void References(object? value, Type place, List<object> found)
    {
        if (value is null || place == typeof(string))
        {
            return;
        }

        if (!place.IsValueType)
        {
            found.Add(value);
            return;
        }

        var type = value.GetType();
        if (!IsSimple(type))
        {
            foreach (var field in InstanceFields.Of(type))
            {
                References(field.GetValue(value), field.FieldType, found);
            }
        }
    }

    private static bool IsSimple(Type type) => type.IsEnum || CoreTypes.IsNumber(type) || CoreTypes.Text(type) is not null;

    private void Enter(int node)
    {
        owner = node;
        var (value, shape, _, _) = nodes[node];
        ((IValueVisitor)this).Code(shape.NameOf(value));
        if (value is Delegate function && !Framework.Owns(function.Method.DeclaringType!))
        {
            if (FieldUse.LoadedBy(function.Method) is { } reads)
            {
                loaded.UnionWith(reads);
            }
            else
            {
                keepsAll = true;
            }
        }

        if (shape is FieldsShape { Prunable: true })
        {
            prunable.Add(node);
        }

        shape.Visit(value, this);
    }

    private void VisitVariables()
    {
        foreach (var node in prunable)
        {
            owner = node;
            nodes[node].Shape.Visit(nodes[node].Value, this);
        }
    }

    void IValueVisitor.Value(object? value, Type place, Step step)
    {
        if (value is null || (step.Field is { } field && FieldUse.IsDisplayClass(field.DeclaringType!) && !IsLoaded(field)))
        {
            return;
        }

        if (!place.IsValueType)
        {
            if (place != typeof(string))
            {
                Reference(value, step);
            }

            return;
        }

        var type = value.GetType();
        if (Shapes.WhyNot(type) is { } reason)
        {
            throw Refused(value, step, reason);
        }

        if (IsSimple(type))
        {
            return;
        }

        inside.Push(step);
        foreach (var part in InstanceFields.Of(type))
        {
            ((IValueVisitor)this).Value(part.GetValue(value), part.FieldType, new(part));
        }

        inside.Pop();
    }

    void IValueVisitor.Code(Type type)
    {
        if (!named.Add(type))
        {
            return;
        }

        foreach (var part in type.IsArray ? [type.GetElementType()!] : type.IsGenericType && !type.IsGenericTypeDefinition ? type.GetGenericArguments() : [])
        {
            ((IValueVisitor)this).Code(part);
        }

        var assembly = type.Assembly;
        if (Framework.Owns(assembly))
        {
            return;
        }

        var reason = assembly.IsDynamic ? "its code was made at run time and is in no file. Put it into a project or a file-based program."
            : assembly.IsCollectible ? "its code is in a collectible load context, which executors do not have. Load its assembly into the default context."
            : assembly.Location.Length == 0 ? "its code is in no file of its own: it was loaded from memory, or the program is published as a single file. Publish without PublishSingleFile."
            : null;
        if (reason is not null)
        {
            var node = nodes[owner];
            owner = node.Parent;
            throw owner < 0 ? new ClosureException($"{subject} cannot travel: {TypeNames.Of(type)}: {reason}") : Refused(node.Value, node.Steps, reason);
        }
    }

    private void Reference(object value, Step step)
    {
        if (numbers.ContainsKey(value))
        {
            return;
        }

        if (Shapes.Of(value, out var reason) is not { } shape)
        {
            throw Refused(value, step, reason!);
        }

        if (nodes.Count == maximumObjects)
        {
            throw new ClosureException($"{subject} captures more than {maximumObjects:N0} objects (at {PathTo(Steps(step), owner)}). {advice}");
        }

        numbers.Add(value, nodes.Count);
        nodes.Add(new(value, shape, owner, Steps(step)));
    }

    private Step[] Steps(Step last) => inside.Count == 0 ? [last] : [.. inside.Reverse(), last];

    private ClosureException Refused(object culprit, Step step, string reason) => Refused(culprit, Steps(step), reason);

    private ClosureException Refused(object culprit, Step[] steps, string reason)
    {
        if (owner < 0)
        {
            return new($"{subject} cannot travel: {reason}");
        }

        var verb = nodes[0].Value is Delegate ? "captures" : "holds";
        return new($"{subject} {verb} {PathTo(steps, owner)} : {TypeNames.OfVisible(culprit.GetType())} — {reason}");
    }

    /// <summary>The way to a value as a user knows it: captured variables by their name, then fields.</summary>
    private string PathTo(Step[] last, int parent)
    {
        var way = new Stack<(Step Step, int Owner)>();
        Push(last, parent);
        for (var at = parent; at > 0; at = nodes[at].Parent)
        {
            Push(nodes[at].Steps, nodes[at].Parent);
        }

        var path = new StringBuilder();
        while (way.TryPop(out var next))
        {
            var word = Word(next.Step, next.Owner, isLast: way.Count == 0);
            if (word.Length > 0)
            {
                path.Append(path.Length > 0 && word[0] is not ('[' or '.') ? " → " : "").Append(word);
            }
        }

        return path.Length == 0 ? "it" : path.ToString();

        void Push(Step[] steps, int owner)
        {
            for (var index = steps.Length - 1; index >= 0; index--)
            {
                way.Push((steps[index], index == 0 ? owner : -1));
            }
        }
    }

    private string Word(Step step, int owner, bool isLast)
    {
        if (step.Field is { } field)
        {
            if (!FieldUse.IsDisplayClass(field.DeclaringType!))
            {
                // A step into a value, such as the key of a pair, follows the field that holds it.
                return owner < 0 ? "." + TypeNames.OfField(field.Name) : $"{TypeNames.Of(field.DeclaringType!)}.{TypeNames.OfField(field.Name)}";
            }

            if (field.Name.StartsWith("CS$<>8__locals", StringComparison.Ordinal))
            {
                return "";
            }

            var name = field.Name.EndsWith("__this", StringComparison.Ordinal) ? "this" : TypeNames.OfField(field.Name);
            return $"'{name}'{(isLast || owner < 0 ? "" : $" ({TypeNames.Of(field.GetValue(nodes[owner].Value)!.GetType())})")}";
        }

        if (step.Index >= 0)
        {
            return $"[{step.Index}]";
        }

        if (step.Words != "target" || owner < 0)
        {
            return step.Words ?? "";
        }

        var function = (Delegate)nodes[owner].Value;
        return FieldUse.IsDisplayClass(function.Target!.GetType()) ? ""
            : function.Method.IsStatic ? $"its first argument{Type()}"
            : $"'this'{Type()}";

        string Type() => isLast ? "" : $" ({TypeNames.Of(function.Target.GetType())})";
    }

    /// <summary>The captured variables, and fields of captured objects, that weigh most.</summary>
    public string Heaviest(GraphWriter writer)
    {
        var weights = new long[nodes.Count];
        var parts = new Dictionary<(int Node, FieldInfo Field), long>(writer.FieldSizes);
        for (var node = nodes.Count - 1; node > 0; node--)
        {
            weights[node] += writer.NodeSizes[node];
            var (_, _, parent, steps) = nodes[node];
            weights[parent] += weights[node];
            if (steps[0].Field is { } field)
            {
                parts[(parent, field)] = parts.GetValueOrDefault((parent, field)) + weights[node];
            }
        }

        var heavy = parts
            .Where(part => IsClosure(part.Key.Node) && !part.Key.Field.Name.StartsWith("CS$<>8__locals", StringComparison.Ordinal))
            .OrderByDescending(part => part.Value)
            .Take(5)
            .Where((part, index) => index == 0 || part.Value >= 1024)
            .Select(part => $"{Word(new(part.Key.Field), part.Key.Node, isLast: false)} {Bytes(part.Value)}")
            .ToArray();
        return heavy.Length == 0 ? "" : string.Join(", ", heavy);

        bool IsClosure(int node) => nodes[node].Shape is FieldsShape { Prunable: true } || (nodes[node].Parent is >= 0 and var parent && nodes[parent].Value is Delegate);
    }

    /// <summary>Bytes for people.</summary>
    public static string Bytes(long bytes) => bytes >= 1 << 20 ? $"{bytes / 1048576.0:0.0} MiB" : $"{Math.Max(1, bytes / 1024)} KiB";
}
