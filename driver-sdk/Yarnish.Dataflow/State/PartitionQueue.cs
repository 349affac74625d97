namespace Yarnish.Dataflow;

/// <summary>A queue of partition numbers in a ring; failed ones go back to the front.</summary>
internal sealed class PartitionQueue
{
    private int[] _ring = [];
    private int _head;

    public int Count { get; private set; }

    public void PushBack(int partition)
    {
        Grow();
        _ring[(_head + Count) & (_ring.Length - 1)] = partition;
        Count++;
    }

    public void PushFront(int partition)
    {
        Grow();
        _head = (_head - 1) & (_ring.Length - 1);
        _ring[_head] = partition;
        Count++;
    }

    public int PopFront()
    {
        var partition = _ring[_head];
        _head = (_head + 1) & (_ring.Length - 1);
        Count--;
        return partition;
    }

    public void EnsureCapacity(int capacity)
    {
        if (_ring.Length < capacity)
        {
            Resize((int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(capacity, 8)));
        }
    }

    public void Clear()
    {
        _ring = [];
        _head = 0;
        Count = 0;
    }

    private void Grow()
    {
        if (Count == _ring.Length)
        {
            Resize(Math.Max(8, _ring.Length * 2));
        }
    }

    private void Resize(int length)
    {
        var ring = new int[length];
        for (var i = 0; i < Count; i++)
        {
            ring[i] = _ring[(_head + i) & (_ring.Length - 1)];
        }
        _ring = ring;
        _head = 0;
    }
}
