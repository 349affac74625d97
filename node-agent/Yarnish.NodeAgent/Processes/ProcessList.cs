using System.Globalization;
using Yarnish.NodeAgent.Containers;

namespace Yarnish.NodeAgent.Processes;

/// <summary>One line of <c>/proc/&lt;pid&gt;/stat</c>.</summary>
/// <param name="Id">Process id.</param>
/// <param name="State">State letter; Z is a zombie.</param>
/// <param name="Parent">Parent's id.</param>
/// <param name="Group">Process group.</param>
/// <param name="Session">Session.</param>
/// <param name="StartTicks">Start time in clock ticks since boot.</param>
/// <param name="ResidentBytes">Resident memory, pages shared with others included.</param>
internal readonly record struct ProcessStat(int Id, char State, int Parent, int Group, int Session, long StartTicks, long ResidentBytes);

/// <summary>Reads the processes of this machine from <c>/proc</c>.</summary>
internal static class ProcessList
{
    /// <summary>One process, or null when there is none.</summary>
    public static ProcessStat? Read(int process)
    {
        try
        {
            return Parse(File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/stat")));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Gone, perhaps between open and read (ESRCH).
            return null;
        }
    }

    /// <summary>Every process there is now.</summary>
    public static List<ProcessStat> ReadAll()
    {
        var all = new List<ProcessStat>();
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out var id) && Read(id) is { } stat)
            {
                all.Add(stat);
            }
        }
        return all;
    }

    /// <summary>Whether exactly this process still runs; a zombie does not.</summary>
    public static bool IsAlive(int process, long startTicks) =>
        process > 1 && Read(process) is { State: not ('Z' or 'X') } stat && stat.StartTicks == startTicks;

    /// <summary>
    /// The processes of a container: those of its session or group, and every descendant of its launcher, which also finds children that made a session
    /// of their own as long as their parents live.
    /// </summary>
    public static List<ProcessStat> Of(ProcessIdentity container, IReadOnlyList<ProcessStat> all)
    {
        var members = new HashSet<int> { container.ProcessId };
        var found = new List<ProcessStat>();
        // Parents mostly have lower ids, but ids wrap: repeat until nothing is added.
        int before;
        do
        {
            before = found.Count;
            found.Clear();
            foreach (var process in all)
            {
                if (process.StartTicks < container.StartTicks || process.Id == container.LauncherId)
                {
                    continue;
                }
                if (process.Session == container.ProcessId || process.Group == container.ProcessId || members.Contains(process.Id) || members.Contains(process.Parent))
                {
                    members.Add(process.Id);
                    found.Add(process);
                }
            }
        }
        while (found.Count != before);
        return found;
    }

    /// <summary>Proportional memory of a process, where shared pages count by their share; its resident memory when the kernel does not tell.</summary>
    public static long ProportionalBytes(ProcessStat process)
    {
        try
        {
            foreach (var line in File.ReadLines(string.Create(CultureInfo.InvariantCulture, $"/proc/{process.Id}/smaps_rollup")))
            {
                if (line.StartsWith("Pss:", StringComparison.Ordinal)
                    && long.TryParse(line.AsSpan(4).TrimEnd("kB ").Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var kilobytes))
                {
                    return kilobytes << 10;
                }
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Gone, or not ours to read.
        }
        return Read(process.Id) is null ? 0 : process.ResidentBytes;
    }

    /// <summary>Whether a process was started with a variable of its environment set so, given as <c>NAME=value</c>. False when it may not be read.</summary>
    public static bool HasVariable(int process, string variable)
    {
        try
        {
            // Entries end with NUL; the first one starts the text.
            var environment = "\0" + File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/environ"));
            return environment.Contains($"\0{variable}\0", StringComparison.Ordinal);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Parses <c>stat</c>; null for text that is not one. The name of the program, in parentheses, may hold anything, spaces and parentheses included.</summary>
    internal static ProcessStat? Parse(string text)
    {
        var close = text.LastIndexOf(')');
        var open = text.IndexOf('(', StringComparison.Ordinal);
        if (open < 1 || close < open || !int.TryParse(text.AsSpan(0, open).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var id))
        {
            return null;
        }
        // After the name: state ppid pgrp session … starttime is field 22 of the line, rss field 24.
        var fields = text[(close + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return fields.Length >= 22
            && int.TryParse(fields[1], CultureInfo.InvariantCulture, out var parent)
            && int.TryParse(fields[2], CultureInfo.InvariantCulture, out var group)
            && int.TryParse(fields[3], CultureInfo.InvariantCulture, out var session)
            && long.TryParse(fields[19], CultureInfo.InvariantCulture, out var start)
            && long.TryParse(fields[21], CultureInfo.InvariantCulture, out var pages)
                ? new ProcessStat(id, fields[0][0], parent, group, session, start, pages * Environment.SystemPageSize)
                : null;
    }
}
