namespace Yarnish.Scheduling;

/// <summary>Something that stands in at most one <see cref="Heap{T}"/> at a time and knows its place there.</summary>
internal abstract class Ranked<T>
    where T : Ranked<T>
{
    /// <summary>Place in the heap; -1 outside of any.</summary>
    internal int HeapIndex = -1;

    /// <summary>Whether this comes before <paramref name="other"/>: a strict total order.</summary>
    internal abstract bool Before(T other);
}

/// <summary>A binary heap whose items may change their rank: <see cref="Moved"/> costs the logarithm of its size and allocates nothing.</summary>
internal sealed class Heap<T>
    where T : Ranked<T>
{
    private T[] _items = [];

    /// <summary>How many items stand in it.</summary>
    public int Count { get; private set; }

    /// <summary>The first item; there must be one.</summary>
    public T First => _items[0];

    /// <summary>The item at a place, in no useful order.</summary>
    public T this[int place] => _items[place];

    /// <summary>Adds an item that stands in no heap.</summary>
    public void Add(T item)
    {
        if (Count == _items.Length)
        {
            Array.Resize(ref _items, Math.Max(4, Count * 2));
        }
        item.HeapIndex = Count;
        _items[Count++] = item;
        Up(item.HeapIndex);
    }

    /// <summary>Removes an item of this heap.</summary>
    public void Remove(T item)
    {
        var place = item.HeapIndex;
        item.HeapIndex = -1;
        var last = _items[--Count];
        _items[Count] = null!;
        if (ReferenceEquals(last, item))
        {
            return;
        }
        _items[place] = last;
        last.HeapIndex = place;
        Moved(last);
    }

    /// <summary>Puts an item of this heap right after its rank changed.</summary>
    public void Moved(T item)
    {
        if (!Up(item.HeapIndex))
        {
            Down(item.HeapIndex);
        }
    }

    /// <summary>Puts everything right after many ranks changed.</summary>
    public void Rebuild()
    {
        for (var place = (Count / 2) - 1; place >= 0; place--)
        {
            Down(place);
        }
    }

    private bool Up(int place)
    {
        var items = _items;
        var item = items[place];
        var moved = false;
        while (place > 0)
        {
            var above = (place - 1) >> 1;
            var parent = items[above];
            if (!item.Before(parent))
            {
                break;
            }
            items[place] = parent;
            parent.HeapIndex = place;
            place = above;
            moved = true;
        }
        items[place] = item;
        item.HeapIndex = place;
        return moved;
    }

    private void Down(int place)
    {
        var items = _items;
        var item = items[place];
        while (true)
        {
            var below = (place << 1) + 1;
            if (below >= Count)
            {
                break;
            }
            if (below + 1 < Count && items[below + 1].Before(items[below]))
            {
                below++;
            }
            var child = items[below];
            if (!child.Before(item))
            {
                break;
            }
            items[place] = child;
            child.HeapIndex = place;
            place = below;
        }
        items[place] = item;
        item.HeapIndex = place;
    }
}
