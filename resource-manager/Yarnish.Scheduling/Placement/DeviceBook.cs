using System.Globalization;
using System.Text;

namespace Yarnish.Scheduling;

/// <summary>
/// Which numbered devices of a node are taken: a custom resource of which a node has at most <see cref="MostNumbered"/> has the numbers 0, 1, 2 … there. A container is told
/// its numbers, lowest first, and its agent repeats them, so that they survive a restart of either side.
/// </summary>
internal sealed class DeviceBook
{
    /// <summary>A resource of which a node has more is a plain count without numbers, such as licences.</summary>
    public const int MostNumbered = 1024;

    private readonly ulong[]?[] _taken = new ulong[ResourceVector.Width][];

    /// <summary>The lowest free numbers for a container, as text: <c>gpu=0,2;fpga=1</c>. Null when it uses no numbered device.</summary>
    /// <param name="node">The node.</param>
    /// <param name="shape">What the container takes.</param>
    /// <param name="types">Names of the resources.</param>
    public string? Choose(Node node, in ResourceVector shape, ResourceTypes types)
    {
        string? devices = null;
        for (var r = 2; r < types.Count; r++)
        {
            if (shape[r] <= 0 || node.Capacity[r] > MostNumbered)
            {
                continue;
            }
            var numbers = shape[r] == 1 ? One(r, node.Capacity[r], types) : Several(r, shape[r], node.Capacity[r], types);
            devices = devices is null || numbers is null ? devices ?? numbers : devices + ";" + numbers;
        }
        return devices;
    }

    private string? One(int resource, long capacity, ResourceTypes types)
    {
        for (var number = 0; number < capacity; number++)
        {
            if (!IsTaken(resource, number))
            {
                return types.DeviceName(resource, number);
            }
        }
        return null;
    }

    private string? Several(int resource, long wanted, long capacity, ResourceTypes types)
    {
        var text = new StringBuilder();
        for (var number = 0; number < capacity && wanted > 0; number++)
        {
            if (!IsTaken(resource, number))
            {
                text.Append(text.Length == 0 ? types.Name(resource) + "=" : ",").Append(CultureInfo.InvariantCulture, $"{number}");
                wanted--;
            }
        }
        return text.Length == 0 ? null : text.ToString();
    }

    /// <summary>Whether a device is taken.</summary>
    public bool IsTaken(int resource, int number) =>
        _taken[resource] is { } bits && number >> 6 < bits.Length && (bits[number >> 6] & (1UL << (number & 63))) != 0;

    /// <summary>Takes the devices of a text, or gives them back. What is not a device in such a text is passed over.</summary>
    public void Mark(ReadOnlySpan<char> devices, bool taken, ResourceTypes types)
    {
        foreach (var range in devices.Split(';'))
        {
            var part = devices[range];
            var at = part.IndexOf('=');
            var resource = at < 1 ? -1 : types.Find(part[..at]);
            if (resource < 0)
            {
                continue;
            }
            var numbers = part[(at + 1)..];
            foreach (var one in numbers.Split(','))
            {
                if (int.TryParse(numbers[one], NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number < MostNumbered)
                {
                    Set(resource, number, taken);
                }
            }
        }
    }

    private void Set(int resource, int number, bool taken)
    {
        ref var bits = ref _taken[resource];
        if (bits is null || bits.Length <= number >> 6)
        {
            Array.Resize(ref bits, (number >> 6) + 1);
        }
        var bit = 1UL << (number & 63);
        bits[number >> 6] = taken ? bits[number >> 6] | bit : bits[number >> 6] & ~bit;
    }
}
