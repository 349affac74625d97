using System.Numerics;

namespace Yarnish.Executor;

internal sealed class SumRule<T> : AccumulatorRule<T, T>
    where T : INumberBase<T>
{
    public override T Zero() => T.Zero;

    public override T Add(T value, T added) => value + added;

    public override T Merge(T value, T other) => value + other;
}

internal sealed class MaximumRule<T>(T start) : AccumulatorRule<T, T>
    where T : IComparable<T>
{
    private readonly T start = start;

    public override T Zero() => start;

    public override T Add(T value, T added) => added.CompareTo(value) > 0 ? added : value;

    public override T Merge(T value, T other) => Add(value, other);
}

internal sealed class MinimumRule<T>(T start) : AccumulatorRule<T, T>
    where T : IComparable<T>
{
    private readonly T start = start;

    public override T Zero() => start;

    public override T Add(T value, T added) => added.CompareTo(value) < 0 ? added : value;

    public override T Merge(T value, T other) => Add(value, other);
}

internal sealed class ItemsRule<T>(int capacity) : AccumulatorRule<T, AccumulatedItems<T>>
{
    private readonly int capacity = capacity;

    public override AccumulatedItems<T> Zero() => new([], 0);

    public override AccumulatedItems<T> Add(AccumulatedItems<T> value, T added)
    {
        // Within a task the list is the task's own; a reader in the driver must never see one that grows.
        if (value.Items.Count >= capacity)
        {
            return value with { Count = value.Count + 1 };
        }
        if (value.Items is not List<T> list)
        {
            list = [.. value.Items];
        }
        list.Add(added);
        return new(list, value.Count + 1);
    }

    public override AccumulatedItems<T> Merge(AccumulatedItems<T> value, AccumulatedItems<T> other) => new(
        value.Items.Count >= capacity ? value.Items : [.. value.Items, .. other.Items.Take(capacity - value.Items.Count)],
        value.Count + other.Count);
}
