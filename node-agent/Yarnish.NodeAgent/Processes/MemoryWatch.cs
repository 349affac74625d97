using Yarnish.NodeAgent.Containers;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Processes;

/// <summary>
/// Knows how much memory containers use and finds those over their grant. Resident memory counts pages that processes share once for each, so before a
/// container is found guilty its proportional memory is taken, which is dearer to read.
/// </summary>
internal sealed class MemoryWatch(ContainerCgroups cgroups)
{
    private Dictionary<ContainerId, long> _used = [];

    /// <summary>Bytes a container used when last looked at; 0 when it was not.</summary>
    public long UsedBy(ContainerId container) => Volatile.Read(ref _used).GetValueOrDefault(container);

    /// <summary>Looks at all running containers and returns those over their grant with the bytes they use.</summary>
    /// <param name="containers">The running ones.</param>
    /// <param name="processes">Every process of the machine now.</param>
    public List<(ContainerId Container, long Used)> Look(IEnumerable<ContainerView> containers, IReadOnlyList<ProcessStat> processes)
    {
        var used = new Dictionary<ContainerId, long>();
        var over = new List<(ContainerId, long)>();
        foreach (var view in containers)
        {
            var id = view.Record.ContainerId;
            if (cgroups.Used(id) is { } exact)
            {
                // The kernel enforces.
                used[id] = exact;
                continue;
            }
            var members = ProcessList.Of(view.Process!, processes);
            var bytes = members.Sum(process => process.ResidentBytes);
            var granted = view.Record.Resources.MemoryBytes;
            if (granted > 0 && bytes > granted)
            {
                bytes = members.Sum(ProcessList.ProportionalBytes);
                if (bytes > granted)
                {
                    over.Add((id, bytes));
                }
            }
            used[id] = bytes;
        }
        Volatile.Write(ref _used, used);
        return over;
    }
}
