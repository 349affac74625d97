using System.Runtime.CompilerServices;
using Microsoft.Extensions.FileSystemGlobbing;
using Microsoft.Extensions.FileSystemGlobbing.Abstractions;
using Yarnish.Jobs;
using Yarnish.Lineage;
using Yarnish.Operators;

namespace Yarnish.Sources;

/// <summary>Finds the files of a source and packs them into partitions. On a fleet every node must see the same files under the same paths.</summary>
internal static class SourceFiles
{
    /// <summary>Largest split of one file.</summary>
    private const long MaximumSplitBytes = 64L << 20;

    /// <summary>Smallest split worth a task of its own.</summary>
    private const long MinimumSplitBytes = 1L << 20;

    /// <summary>What opening one more file costs, in bytes read meanwhile: keeps thousands of tiny files from becoming one endless task.</summary>
    private const long OpenCostBytes = 128L << 10;

    /// <summary>The files that paths, directories and globs (<c>*</c>, <c>?</c>, <c>**</c>) name, in ordinal order, each once.</summary>
    /// <remarks>Files and folders whose names begin with <c>.</c> or <c>_</c> do not count, as for Hadoop's input formats: they are markers and unfinished output. Naming one finds it.</remarks>
    /// <param name="operation">Who asks, for the error.</param>
    /// <param name="patterns">What to find.</param>
    /// <exception cref="FileNotFoundException">One of them names nothing.</exception>
    public static IReadOnlyList<FileInfo> Find(string operation, IEnumerable<string> patterns)
    {
        ArgumentNullException.ThrowIfNull(patterns);
        var found = new SortedDictionary<string, FileInfo>(StringComparer.Ordinal);
        foreach (var pattern in patterns)
        {
            var matches = Match(pattern).ToList();
            foreach (var file in matches)
            {
                found.TryAdd(file.FullName, file);
            }
            if (matches.Count == 0)
            {
                throw new FileNotFoundException(
                    Directory.Exists(pattern)
                        ? $"{operation}: the directory '{pattern}' holds no file (those whose names begin with . or _ do not count, nor do its subdirectories: for these write '{Path.Join(pattern, "**")}')."
                        : $"{operation}: '{pattern}' names no file (looked from {Directory.GetCurrentDirectory()}). Check the path; globs may use *, ? and **; files whose names begin with . or _ do not count.",
                    pattern);
            }
        }
        return [.. found.Values];
    }

    private static IEnumerable<FileInfo> Match(string pattern)
    {
        if (string.IsNullOrEmpty(pattern))
        {
            return [];
        }
        if (File.Exists(pattern))
        {
            return [new FileInfo(Path.GetFullPath(pattern))];
        }
        if (Directory.Exists(pattern))
        {
            return new DirectoryInfo(Path.GetFullPath(pattern)).EnumerateFiles().Where(file => !IsHidden(file.Name, ""));
        }
        var segments = Path.GetFullPath(pattern).Split(Path.DirectorySeparatorChar);
        var firstGlob = Array.FindIndex(segments, segment => segment.AsSpan().IndexOfAny('*', '?') >= 0);
        if (firstGlob < 0)
        {
            return [];
        }
        var root = new DirectoryInfo(string.Join(Path.DirectorySeparatorChar, segments[..firstGlob]) is { Length: > 0 } text ? text : "/");
        return root.Exists ? Walk(root, segments, firstGlob) : [];
    }

    // Segment by segment, so that only directories that can match are listed.
    private static IEnumerable<FileInfo> Walk(DirectoryInfo directory, string[] segments, int index)
    {
        var segment = segments[index];
        var last = index == segments.Length - 1;
        if (segment == "**")
        {
            var matcher = new Matcher(StringComparison.Ordinal);
            matcher.AddInclude(last ? "**" : string.Join('/', segments[index..]));
            return matcher.Execute(new DirectoryInfoWrapper(directory)).Files
                .Where(match => !match.Path.Split('/').Any(name => IsHidden(name, segments[^1]) && !segments.Contains(name)))
                .Select(match => new FileInfo(Path.Combine(directory.FullName, match.Path)));
        }
        if (last)
        {
            return directory.EnumerateFiles(segment).Where(file => !IsHidden(file.Name, segment));
        }
        return directory.EnumerateDirectories(segment).Where(child => !IsHidden(child.Name, segment)).SelectMany(child => Walk(child, segments, index + 1));
    }

    /// <summary>Markers and unfinished output, unless the pattern itself begins so.</summary>
    private static bool IsHidden(string name, string pattern) => name[0] is '.' or '_' && !pattern.StartsWith(name[0]);

    /// <summary>
    /// Packs files into partitions of about equal work: large files are split, small ones share a partition; about <paramref name="minimumPartitions"/> partitions or more.
    /// Compressed files are never split.
    /// </summary>
    /// <param name="files">The files.</param>
    /// <param name="minimumPartitions">At least 1.</param>
    /// <param name="unit">Splits begin at multiples of so many bytes; 0 when the files must not be split.</param>
    public static IReadOnlyList<IReadOnlyList<FileSplit>> Pack(IReadOnlyList<FileInfo> files, int minimumPartitions, int unit = 1)
    {
        var total = files.Sum(file => file.Length + OpenCostBytes);
        var target = Math.Clamp(total / minimumPartitions, MinimumSplitBytes, MaximumSplitBytes);
        var partitions = new List<IReadOnlyList<FileSplit>>();
        var current = new List<FileSplit>();
        var filled = 0L;
        foreach (var split in files.SelectMany(file => Splits(file, target, unit)))
        {
            var cost = split.Length + OpenCostBytes;
            if (filled > 0 && filled + (cost / 2) > target)
            {
                partitions.Add(current);
                current = [];
                filled = 0;
            }
            current.Add(split);
            filled += cost;
        }
        if (current.Count > 0)
        {
            partitions.Add(current);
        }
        return partitions;
    }

    private static IEnumerable<FileSplit> Splits(FileInfo file, long target, int unit)
    {
        var whole = FileSplit.Whole(file);
        if (unit == 0 || whole.Length <= target + (target / 10) || CompressedFiles.Of(file.FullName) != FileCompression.None)
        {
            yield return whole;
            yield break;
        }
        var units = whole.Length / unit;
        var count = Math.Min((whole.Length + target - 1) / target, Math.Max(units, 1));
        for (var i = 0L; i < count; i++)
        {
            var start = (long)((Int128)units * i / count) * unit;
            var end = i + 1 == count ? whole.Length : (long)((Int128)units * (i + 1) / count) * unit;
            yield return whole with { Offset = start, Length = end - start };
        }
    }

    /// <summary>A collection of what is in files: found and cut into partitions now, read by tasks.</summary>
    /// <param name="runner">The session's.</param>
    /// <param name="read">What tasks do with their splits.</param>
    /// <param name="paths">Files, folders, globs.</param>
    /// <param name="minimumPartitions">At least so many partitions, as far as files can be split; null for the session's parallelism.</param>
    /// <param name="callSite">Where the user called.</param>
    /// <param name="unit">See <see cref="Pack"/>.</param>
    /// <param name="check">Looks at each file before any task is sent; throws to refuse it.</param>
    /// <param name="operation">What the user called.</param>
    public static Rdd<T> Read<T>(
        IJobRunner runner, Operator<T> read, IEnumerable<string> paths, int? minimumPartitions, string callSite, int unit = 1, Action<FileInfo>? check = null, [CallerMemberName] string operation = "")
    {
        if (minimumPartitions is { } wanted)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(wanted, 1, nameof(minimumPartitions));
        }
        var files = Find(operation, paths);
        foreach (var file in check is null ? [] : files)
        {
            check!(file);
        }
        var partitions = Pack(files, minimumPartitions ?? Math.Max(runner.DefaultPartitions, 1), unit);
        return new Rdd<T>(runner, new LineageNode
        {
            Operator = read,
            Partitions = partitions.Count,
            Label = operation,
            CallSite = callSite,
            Input = partition => FileSplit.ToBytes(partitions[partition]),
        });
    }
}
