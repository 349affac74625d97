using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Collections.ObjectModel;

namespace Yarnish.Serialization;

/// <summary>The framework's collections: as their items and comparer, so that hash tables are built anew where the hash codes are others.</summary>
internal static class CollectionShapes
{
    private static readonly ConcurrentDictionary<Type, Shape?> Cache = new();

    private static readonly Dictionary<Type, Type> Definitions = new()
    {
        [typeof(List<>)] = typeof(ListItems<>),
        [typeof(Collection<>)] = typeof(CollectionItems<>),
        [typeof(ObservableCollection<>)] = typeof(ObservableItems<>),
        [typeof(Queue<>)] = typeof(QueueItems<>),
        [typeof(Stack<>)] = typeof(StackItems<>),
        [typeof(LinkedList<>)] = typeof(LinkedItems<>),
        [typeof(ConcurrentQueue<>)] = typeof(ConcurrentQueueItems<>),
        [typeof(ConcurrentStack<>)] = typeof(ConcurrentStackItems<>),
        [typeof(ConcurrentBag<>)] = typeof(ConcurrentBagItems<>),
        [typeof(HashSet<>)] = typeof(HashSetItems<>),
        [typeof(SortedSet<>)] = typeof(SortedSetItems<>),
        [typeof(Dictionary<,>)] = typeof(DictionaryItems<,>),
        [typeof(OrderedDictionary<,>)] = typeof(OrderedDictionaryItems<,>),
        [typeof(SortedDictionary<,>)] = typeof(SortedDictionaryItems<,>),
        [typeof(SortedList<,>)] = typeof(SortedListItems<,>),
        [typeof(ConcurrentDictionary<,>)] = typeof(ConcurrentDictionaryItems<,>),
        [typeof(ImmutableList<>)] = typeof(ImmutableListItems<>),
        [typeof(ImmutableQueue<>)] = typeof(ImmutableQueueItems<>),
        [typeof(ImmutableStack<>)] = typeof(ImmutableStackItems<>),
        [typeof(ImmutableHashSet<>)] = typeof(ImmutableHashSetItems<>),
        [typeof(ImmutableSortedSet<>)] = typeof(ImmutableSortedSetItems<>),
        [typeof(ImmutableDictionary<,>)] = typeof(ImmutableDictionaryItems<,>),
        [typeof(ImmutableSortedDictionary<,>)] = typeof(ImmutableSortedDictionaryItems<,>),
    };

    public static Shape? For(Type type) => Cache.GetOrAdd(type, static type => type.IsGenericType && Definitions.TryGetValue(type.GetGenericTypeDefinition(), out var definition)
        ? (Shape)Activator.CreateInstance(definition.MakeGenericType(type.GetGenericArguments()))!
        : null);

    /// <summary>Immutable hash tables are built before the objects in them are filled, so that keys must be whole by then.</summary>
    public static string? WhyNot(Type type) => type.GetGenericTypeDefinition() is var definition
        && (definition == typeof(ImmutableHashSet<>) || definition == typeof(ImmutableSortedSet<>) || definition == typeof(ImmutableDictionary<,>) || definition == typeof(ImmutableSortedDictionary<,>))
        && !IsWhole(type.GetGenericArguments()[0])
            ? WhyNotWhole(type)
            : null;

    public static string WhyNotWhole(Type type) => $"it is keyed by {TypeNames.Of(type.GetGenericArguments()[0])} objects, which would not be filled yet when its hash table is built. Use a {(type.GetGenericArguments().Length == 2 ? "Dictionary" : "HashSet")}.";

    /// <summary>True when a value of the type is complete as soon as it is read.</summary>
    public static bool IsWhole(Type type) => type == typeof(string) || type.IsEnum || CoreTypes.IsNumber(type) || CoreTypes.Text(type) is not null
        || (type.IsValueType && InstanceFields.Of(type).All(field => IsWhole(field.FieldType)));
}

/// <summary>A collection of single items.</summary>
internal abstract class ItemsShape<TCollection, T> : Shape
    where TCollection : class, IEnumerable<T>
{
    /// <summary>Its comparer, when it has one to keep.</summary>
    protected virtual object? ComparerOf(TCollection collection) => null;

    /// <summary>An empty collection, or the whole one when it cannot be filled later.</summary>
    protected abstract TCollection Make(object? comparer, List<T> items);

    /// <summary>Adds the items; null when the collection was made with them.</summary>
    protected virtual Action<TCollection, List<T>>? Add => null;

    /// <summary>Whether items must be whole before they are added: they are hashed or compared.</summary>
    protected virtual bool Keyed => false;

    public override void Visit(object value, IValueVisitor visitor)
    {
        VisitComparer(value, visitor);
        VisitItems(value, visitor);
    }

    public override void VisitNeeded(object value, IValueVisitor visitor)
    {
        VisitComparer(value, visitor);
        if (Add is null)
        {
            VisitItems(value, visitor);
        }
    }

    private void VisitComparer(object value, IValueVisitor visitor)
    {
        if (ComparerOf((TCollection)value) is { } comparer)
        {
            visitor.Value(comparer, typeof(object), new(null, "comparer"));
        }
    }

    private static void VisitItems(object value, IValueVisitor visitor)
    {
        if (CoreTypes.IsNumber(typeof(T)) || typeof(T) == typeof(string))
        {
            return;
        }

        var index = 0;
        foreach (var item in (TCollection)value)
        {
            visitor.Value(item, typeof(T), new(null, null, index++));
        }
    }

    public override void WriteCreation(object value, GraphWriter writer)
    {
        if (ComparerOf((TCollection)value) is { } comparer)
        {
            writer.Name("comparer");
            writer.Value(comparer, typeof(object));
        }

        if (Add is null)
        {
            WriteItems(value, writer);
        }
    }

    public override object Create(Type type, GraphReader reader)
    {
        object? comparer = null;
        List<T> items = [];
        while (reader.NextName() is { } name)
        {
            if (name == "comparer")
            {
                comparer = reader.Read<object>();
            }
            else if (name == "items")
            {
                items = ReadItems(reader);
            }
        }

        return Make(comparer, items);
    }

    public override bool HasContent(object value) => Add is not null && ((TCollection)value).Any();

    public override void WriteContent(object value, GraphWriter writer) => WriteItems(value, writer);

    public override void Fill(object target, GraphReader reader)
    {
        reader.Expect("items");
        var items = ReadItems(reader);
        reader.SkipToEnd();
        if (Keyed)
        {
            reader.Later(() => Add!((TCollection)target, items));
        }
        else
        {
            Add!((TCollection)target, items);
        }
    }

    private static void WriteItems(object value, GraphWriter writer)
    {
        writer.Name("items");
        writer.StartArray();
        foreach (var item in (TCollection)value)
        {
            writer.Value(item, typeof(T));
        }

        writer.EndArray();
    }

    private static List<T> ReadItems(GraphReader reader)
    {
        var items = new List<T>();
        reader.StartArray();
        while (reader.NextItem())
        {
            items.Add(reader.Current<T>());
        }

        return items;
    }
}

internal sealed class ListItems<T> : ItemsShape<List<T>, T>
{
    protected override List<T> Make(object? comparer, List<T> items) => [];

    protected override Action<List<T>, List<T>> Add => static (list, items) => list.AddRange(items);
}

internal sealed class CollectionItems<T> : ItemsShape<Collection<T>, T>
{
    protected override Collection<T> Make(object? comparer, List<T> items) => [];

    protected override Action<Collection<T>, List<T>> Add => static (list, items) => items.ForEach(list.Add);
}

internal sealed class ObservableItems<T> : ItemsShape<ObservableCollection<T>, T>
{
    protected override ObservableCollection<T> Make(object? comparer, List<T> items) => [];

    protected override Action<ObservableCollection<T>, List<T>> Add => static (list, items) => items.ForEach(list.Add);
}

internal sealed class QueueItems<T> : ItemsShape<Queue<T>, T>
{
    protected override Queue<T> Make(object? comparer, List<T> items) => new();

    protected override Action<Queue<T>, List<T>> Add => static (queue, items) => items.ForEach(queue.Enqueue);
}

internal sealed class StackItems<T> : ItemsShape<Stack<T>, T>
{
    protected override Stack<T> Make(object? comparer, List<T> items) => new();

    protected override Action<Stack<T>, List<T>> Add => static (stack, items) =>
    {
        // Enumerated from the top.
        for (var index = items.Count - 1; index >= 0; index--)
        {
            stack.Push(items[index]);
        }
    };
}

internal sealed class LinkedItems<T> : ItemsShape<LinkedList<T>, T>
{
    protected override LinkedList<T> Make(object? comparer, List<T> items) => new();

    protected override Action<LinkedList<T>, List<T>> Add => static (list, items) => items.ForEach(item => list.AddLast(item));
}

internal sealed class ConcurrentQueueItems<T> : ItemsShape<ConcurrentQueue<T>, T>
{
    protected override ConcurrentQueue<T> Make(object? comparer, List<T> items) => new();

    protected override Action<ConcurrentQueue<T>, List<T>> Add => static (queue, items) => items.ForEach(queue.Enqueue);
}

internal sealed class ConcurrentStackItems<T> : ItemsShape<ConcurrentStack<T>, T>
{
    protected override ConcurrentStack<T> Make(object? comparer, List<T> items) => new();

    protected override Action<ConcurrentStack<T>, List<T>> Add => static (stack, items) =>
    {
        items.Reverse();
        items.ForEach(stack.Push);
    };
}

internal sealed class ConcurrentBagItems<T> : ItemsShape<ConcurrentBag<T>, T>
{
    protected override ConcurrentBag<T> Make(object? comparer, List<T> items) => [];

    protected override Action<ConcurrentBag<T>, List<T>> Add => static (bag, items) => items.ForEach(bag.Add);
}

internal sealed class HashSetItems<T> : ItemsShape<HashSet<T>, T>
{
    protected override object ComparerOf(HashSet<T> set) => set.Comparer;

    protected override HashSet<T> Make(object? comparer, List<T> items) => new((IEqualityComparer<T>?)comparer);

    protected override Action<HashSet<T>, List<T>> Add => static (set, items) => items.ForEach(item => set.Add(item));

    protected override bool Keyed => true;
}

internal sealed class SortedSetItems<T> : ItemsShape<SortedSet<T>, T>
{
    protected override object ComparerOf(SortedSet<T> set) => set.Comparer;

    protected override SortedSet<T> Make(object? comparer, List<T> items) => new((IComparer<T>?)comparer);

    protected override Action<SortedSet<T>, List<T>> Add => static (set, items) => items.ForEach(item => set.Add(item));

    protected override bool Keyed => true;
}

internal abstract class MapItems<TMap, TKey, TValue> : ItemsShape<TMap, KeyValuePair<TKey, TValue>>
    where TMap : class, IEnumerable<KeyValuePair<TKey, TValue>>
{
    protected override bool Keyed => true;

    protected abstract void Put(TMap map, TKey key, TValue value);

    protected override Action<TMap, List<KeyValuePair<TKey, TValue>>>? Add => (map, items) => items.ForEach(item => Put(map, item.Key, item.Value));
}

internal sealed class DictionaryItems<TKey, TValue> : MapItems<Dictionary<TKey, TValue>, TKey, TValue>
    where TKey : notnull
{
    protected override object ComparerOf(Dictionary<TKey, TValue> map) => map.Comparer;

    protected override Dictionary<TKey, TValue> Make(object? comparer, List<KeyValuePair<TKey, TValue>> items) => new((IEqualityComparer<TKey>?)comparer);

    protected override void Put(Dictionary<TKey, TValue> map, TKey key, TValue value) => map.Add(key, value);
}

internal sealed class OrderedDictionaryItems<TKey, TValue> : MapItems<OrderedDictionary<TKey, TValue>, TKey, TValue>
    where TKey : notnull
{
    protected override object ComparerOf(OrderedDictionary<TKey, TValue> map) => map.Comparer;

    protected override OrderedDictionary<TKey, TValue> Make(object? comparer, List<KeyValuePair<TKey, TValue>> items) => new((IEqualityComparer<TKey>?)comparer);

    protected override void Put(OrderedDictionary<TKey, TValue> map, TKey key, TValue value) => map.Add(key, value);
}

internal sealed class SortedDictionaryItems<TKey, TValue> : MapItems<SortedDictionary<TKey, TValue>, TKey, TValue>
    where TKey : notnull
{
    protected override object ComparerOf(SortedDictionary<TKey, TValue> map) => map.Comparer;

    protected override SortedDictionary<TKey, TValue> Make(object? comparer, List<KeyValuePair<TKey, TValue>> items) => new((IComparer<TKey>?)comparer);

    protected override void Put(SortedDictionary<TKey, TValue> map, TKey key, TValue value) => map.Add(key, value);
}

internal sealed class SortedListItems<TKey, TValue> : MapItems<SortedList<TKey, TValue>, TKey, TValue>
    where TKey : notnull
{
    protected override object ComparerOf(SortedList<TKey, TValue> map) => map.Comparer;

    protected override SortedList<TKey, TValue> Make(object? comparer, List<KeyValuePair<TKey, TValue>> items) => new((IComparer<TKey>?)comparer);

    protected override void Put(SortedList<TKey, TValue> map, TKey key, TValue value) => map.Add(key, value);
}

internal sealed class ConcurrentDictionaryItems<TKey, TValue> : MapItems<ConcurrentDictionary<TKey, TValue>, TKey, TValue>
    where TKey : notnull
{
    protected override object ComparerOf(ConcurrentDictionary<TKey, TValue> map) => map.Comparer;

    protected override ConcurrentDictionary<TKey, TValue> Make(object? comparer, List<KeyValuePair<TKey, TValue>> items) => new((IEqualityComparer<TKey>?)comparer ?? EqualityComparer<TKey>.Default);

    protected override void Put(ConcurrentDictionary<TKey, TValue> map, TKey key, TValue value) => map[key] = value;
}

internal sealed class ImmutableListItems<T> : ItemsShape<ImmutableList<T>, T>
{
    protected override ImmutableList<T> Make(object? comparer, List<T> items) => [.. items];
}

internal sealed class ImmutableQueueItems<T> : ItemsShape<ImmutableQueue<T>, T>
{
    protected override ImmutableQueue<T> Make(object? comparer, List<T> items) => [.. items];
}

internal sealed class ImmutableStackItems<T> : ItemsShape<ImmutableStack<T>, T>
{
    protected override ImmutableStack<T> Make(object? comparer, List<T> items) => ImmutableStack.CreateRange(Enumerable.Reverse(items));
}

internal sealed class ImmutableHashSetItems<T> : ItemsShape<ImmutableHashSet<T>, T>
{
    protected override object ComparerOf(ImmutableHashSet<T> set) => set.KeyComparer;

    protected override ImmutableHashSet<T> Make(object? comparer, List<T> items) => ImmutableHashSet.CreateRange((IEqualityComparer<T>?)comparer, items);
}

internal sealed class ImmutableSortedSetItems<T> : ItemsShape<ImmutableSortedSet<T>, T>
{
    protected override object ComparerOf(ImmutableSortedSet<T> set) => set.KeyComparer;

    protected override ImmutableSortedSet<T> Make(object? comparer, List<T> items) => ImmutableSortedSet.CreateRange((IComparer<T>?)comparer, items);
}

internal sealed class ImmutableDictionaryItems<TKey, TValue> : ItemsShape<ImmutableDictionary<TKey, TValue>, KeyValuePair<TKey, TValue>>
    where TKey : notnull
{
    protected override object ComparerOf(ImmutableDictionary<TKey, TValue> map) => map.KeyComparer;

    protected override ImmutableDictionary<TKey, TValue> Make(object? comparer, List<KeyValuePair<TKey, TValue>> items) => ImmutableDictionary.CreateRange((IEqualityComparer<TKey>?)comparer, items);
}

internal sealed class ImmutableSortedDictionaryItems<TKey, TValue> : ItemsShape<ImmutableSortedDictionary<TKey, TValue>, KeyValuePair<TKey, TValue>>
    where TKey : notnull
{
    protected override object ComparerOf(ImmutableSortedDictionary<TKey, TValue> map) => map.KeyComparer;

    protected override ImmutableSortedDictionary<TKey, TValue> Make(object? comparer, List<KeyValuePair<TKey, TValue>> items) =>
        ImmutableSortedDictionary.CreateRange((IComparer<TKey>?)comparer, items);
}
