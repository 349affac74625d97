using System.Collections.Immutable;
using System.Globalization;
using System.Runtime.CompilerServices;
using Yarnish.Protocol;

namespace Yarnish.Scheduling;

/// <summary>
/// The countable resources of this cluster by dense number: memory is 0, thousandths of a core 1, the rest in the order they were first seen on a node, an
/// ask or in the configuration. Bounded: a seventeenth resource is refused.
/// </summary>
internal sealed class ResourceTypes
{
    /// <summary>Name of the memory resource in messages to people.</summary>
    public const string Memory = "memory";

    /// <summary>Name of the processor resource in messages to people.</summary>
    public const string MilliCores = "cores";

    /// <summary>The largest amount of one resource on one node or in one ask. 65,536 nodes of it still fit into a <see cref="long"/>.</summary>
    public const long Largest = 1L << 46;

    private readonly List<string> _names = [Memory, MilliCores];
    private readonly List<List<string>> _devices = [];
    private readonly Dictionary<string, int> _numbers = new(StringComparer.Ordinal);

    /// <summary>How many there are.</summary>
    public int Count => _names.Count;

    /// <summary>Name of a resource.</summary>
    public string Name(int number) => _names[number];

    /// <summary>Number of a custom resource, given now if it is new; -1 when there are too many.</summary>
    public int NumberOf(string name)
    {
        if (_numbers.TryGetValue(name, out var number))
        {
            return number;
        }
        if (_names.Count == ResourceVector.Width)
        {
            return -1;
        }
        _numbers.Add(name, _names.Count);
        _names.Add(name);
        return _names.Count - 1;
    }

    /// <summary>Number of a known custom resource; -1 when nobody has said it.</summary>
    public int Find(ReadOnlySpan<char> name)
    {
        for (var i = 2; i < _names.Count; i++)
        {
            if (name.SequenceEqual(_names[i]))
            {
                return i;
            }
        }
        return -1;
    }

    /// <summary>One device as text, such as <c>gpu=3</c>; made once for each number.</summary>
    public string DeviceName(int resource, int number)
    {
        while (_devices.Count <= resource)
        {
            _devices.Add([]);
        }
        var known = _devices[resource];
        while (known.Count <= number)
        {
            known.Add(string.Create(CultureInfo.InvariantCulture, $"{_names[resource]}={known.Count}"));
        }
        return known[number];
    }

    /// <summary>The amounts in dense form; false when a resource has no number or an amount is out of range.</summary>
    public bool TryPack(Resources resources, out ResourceVector vector)
    {
        vector = default;
        if (!InRange(resources))
        {
            return false;
        }
        vector[0] = resources.MemoryBytes;
        vector[1] = resources.MilliCores;
        if (resources.Custom.IsEmpty)
        {
            return true;
        }
        foreach (var (name, amount) in resources.Custom)
        {
            if (amount == 0)
            {
                continue;
            }
            var number = NumberOf(name);
            if (number < 0)
            {
                return false;
            }
            vector[number] = amount;
        }
        return true;
    }

    /// <summary>The amounts in the form people and the wire use.</summary>
    public Resources Unpack(in ResourceVector vector)
    {
        var custom = ImmutableSortedDictionary.Create<string, long>(StringComparer.Ordinal);
        for (var i = 2; i < Count; i++)
        {
            if (vector[i] != 0)
            {
                custom = custom.SetItem(_names[i], vector[i]);
            }
        }
        return new Resources(vector[0], vector[1]) { Custom = custom };
    }

    /// <summary>An amount with its unit, for people.</summary>
    public string Format(int number, long amount) => number switch
    {
        0 => $"{amount >> 20} MiB of memory",
        1 => $"{amount / 1000m:0.###} cores",
        _ => $"{amount} {_names[number]}",
    };

    /// <summary>Whether every amount is within 0 and <see cref="Largest"/>.</summary>
    public static bool InRange(Resources resources)
    {
        var good = resources.MemoryBytes is >= 0 and <= Largest && resources.MilliCores is >= 0 and <= Largest;
        foreach (var (_, amount) in resources.Custom)
        {
            good &= amount is >= 0 and <= Largest;
        }
        return good;
    }

    /// <summary>One amount by name.</summary>
    public static long Amount(Resources resources, string name) => name switch
    {
        Memory => resources.MemoryBytes,
        MilliCores => resources.MilliCores,
        _ => resources.Custom.GetValueOrDefault(name),
    };
}

/// <summary>Amounts of resources by their dense number, without an object of its own.</summary>
[InlineArray(Width)]
internal struct ResourceVector
{
    /// <summary>Most resources there may be.</summary>
    public const int Width = 16;

    private long _first;

    /// <summary>A vector with the same amount everywhere.</summary>
    public static ResourceVector Filled(long amount)
    {
        ResourceVector vector = default;
        ((Span<long>)vector).Fill(amount);
        return vector;
    }

    /// <summary>Adds <paramref name="other"/>.</summary>
    public void Add(in ResourceVector other, int count)
    {
        for (var i = 0; i < count; i++)
        {
            this[i] += other[i];
        }
    }

    /// <summary>Subtracts <paramref name="other"/>.</summary>
    public void Subtract(in ResourceVector other, int count)
    {
        for (var i = 0; i < count; i++)
        {
            this[i] -= other[i];
        }
    }

    /// <summary>Whether <paramref name="used"/> and this together stay within <paramref name="limit"/>, for each resource that this one needs.</summary>
    public readonly bool FitsOnTop(in ResourceVector used, in ResourceVector limit, int count)
    {
        for (var i = 0; i < count; i++)
        {
            if (this[i] > 0 && this[i] > limit[i] - used[i])
            {
                return false;
            }
        }
        return true;
    }

    /// <summary>The first resource that does not fit, or -1, see <see cref="FitsOnTop"/>.</summary>
    public readonly int FirstMisfit(in ResourceVector used, in ResourceVector limit, int count)
    {
        for (var i = 0; i < count; i++)
        {
            if (this[i] > 0 && this[i] > limit[i] - used[i])
            {
                return i;
            }
        }
        return -1;
    }

    /// <summary>Whether all amounts are equal.</summary>
    public readonly bool SameAs(in ResourceVector other) => ((ReadOnlySpan<long>)this).SequenceEqual(other);
}
