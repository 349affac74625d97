using System.Diagnostics.CodeAnalysis;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>
/// Containers by id: open addressing over references alone, since a container knows its own id. A third of the memory of a dictionary, and an order that depends on
/// nothing but the ids.
/// </summary>
internal sealed class ContainerTable
{
    private Container?[] _slots = new Container?[16];

    /// <summary>How many there are.</summary>
    public int Count { get; private set; }

    /// <summary>All of them, in an order that means nothing but is the same in every run.</summary>
    public IEnumerable<Container> Values
    {
        get
        {
            foreach (var container in _slots)
            {
                if (container is not null)
                {
                    yield return container;
                }
            }
        }
    }

    /// <summary>The container of this id, which must be there.</summary>
    public Container this[ContainerId id] => TryGetValue(id, out var container) ? container : throw new KeyNotFoundException($"There is no container {id}.");

    /// <summary>Whether there is one of this id.</summary>
    public bool ContainsKey(ContainerId id) => TryGetValue(id, out _);

    /// <summary>Finds the container of this id.</summary>
    public bool TryGetValue(ContainerId id, [NotNullWhen(true)] out Container? container)
    {
        container = _slots[Find(id)];
        return container is not null;
    }

    /// <summary>Adds a container whose id is new.</summary>
    public void Add(Container container)
    {
        if ((Count + 1) * 3 > _slots.Length * 2)
        {
            Grow();
        }
        ref var slot = ref _slots[Find(container.Id)];
        if (slot is not null)
        {
            throw new InvalidOperationException($"Container {container.Id} is there already.");
        }
        slot = container;
        Count++;
    }

    /// <summary>Removes the container of this id if it is there.</summary>
    public void Remove(ContainerId id)
    {
        var hole = Find(id);
        if (_slots[hole] is null)
        {
            return;
        }
        _slots[hole] = null;
        Count--;
        // Whatever was pushed past the hole moves back, so that every search still ends where it should.
        var mask = _slots.Length - 1;
        for (var at = (hole + 1) & mask; _slots[at] is { } moved; at = (at + 1) & mask)
        {
            var home = Home(moved.Id, mask);
            if (((at - home) & mask) >= ((at - hole) & mask))
            {
                _slots[hole] = moved;
                _slots[at] = null;
                hole = at;
            }
        }
    }

    private int Find(ContainerId id)
    {
        var mask = _slots.Length - 1;
        var at = Home(id, mask);
        while (_slots[at] is { } container && container.Id != id)
        {
            at = (at + 1) & mask;
        }
        return at;
    }

    // Sequences are dense: consecutive ones fill consecutive places, which is as good as it gets.
    private static int Home(ContainerId id, int mask) => (int)((ulong)id.Sequence + ((ulong)id.Epoch * 0x9E3779B97F4A7C15UL)) & mask;

    private void Grow()
    {
        var old = _slots;
        _slots = new Container?[old.Length * 2];
        foreach (var container in old)
        {
            if (container is not null)
            {
                _slots[Find(container.Id)] = container;
            }
        }
    }
}
