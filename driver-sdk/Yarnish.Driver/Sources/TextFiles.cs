using Microsoft.Extensions.FileSystemGlobbing;
using Microsoft.Extensions.FileSystemGlobbing.Abstractions;

namespace Yarnish.Sources;

/// <summary>Finds the files of a source and packs them into partitions. On a fleet every node must see the same files under the same paths.</summary>
internal static class TextFiles
{
    /// <summary>Largest split of one file.</summary>
    private const long MaximumSplitBytes = 64L << 20;

    /// <summary>Smallest split worth a task of its own.</summary>
    private const long MinimumSplitBytes = 1L << 20;

    /// <summary>What opening one more file costs, in bytes read meanwhile: keeps thousands of tiny files from becoming one endless task.</summary>
    private const long OpenCostBytes = 128L << 10;

    /// <summary>The files that paths, directories and globs (<c>*</c>, <c>?</c>, <c>**</c>) name, in ordinal order, each once.</summary>
    /// <exception cref="FileNotFoundException">One of them names nothing.</exception>
    public static IReadOnlyList<FileInfo> Find(IEnumerable<string> patterns)
    {
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
                        ? $"ReadText: the directory '{pattern}' holds no file (those whose names begin with . or _ do not count, nor do its subdirectories: for these write '{Path.Join(pattern, "**")}')."
                        : $"ReadText: '{pattern}' names no file (looked from {Directory.GetCurrentDirectory()}). Check the path; globs may use *, ? and **.",
                    pattern);
            }
        }
        return [.. found.Values];
    }

    private static IEnumerable<FileInfo> Match(string pattern)
    {
        if (pattern.Length == 0)
        {
            return [];
        }
        if (File.Exists(pattern))
        {
            return [new FileInfo(Path.GetFullPath(pattern))];
        }
        if (Directory.Exists(pattern))
        {
            // As Hadoop's input formats do: files whose names begin with '.' or '_' are markers and temporary files.
            return new DirectoryInfo(Path.GetFullPath(pattern)).EnumerateFiles().Where(file => file.Name[0] is not ('.' or '_'));
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
            return matcher.Execute(new DirectoryInfoWrapper(directory)).Files.Select(match => new FileInfo(Path.Combine(directory.FullName, match.Path)));
        }
        if (last)
        {
            return directory.EnumerateFiles(segment);
        }
        return directory.EnumerateDirectories(segment).SelectMany(child => Walk(child, segments, index + 1));
    }

    /// <summary>
    /// Packs files into partitions of about equal work: large files are split, small ones share a partition; about <paramref name="minimumPartitions"/> partitions or more.
    /// Compressed files are never split.
    /// </summary>
    public static IReadOnlyList<IReadOnlyList<FileSplit>> Pack(IReadOnlyList<FileInfo> files, int minimumPartitions)
    {
        var total = files.Sum(file => file.Length + OpenCostBytes);
        var target = Math.Clamp(total / minimumPartitions, MinimumSplitBytes, MaximumSplitBytes);
        var partitions = new List<IReadOnlyList<FileSplit>>();
        var current = new List<FileSplit>();
        var filled = 0L;
        foreach (var split in files.SelectMany(file => Splits(file, target)))
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

    private static IEnumerable<FileSplit> Splits(FileInfo file, long target)
    {
        if (file.Length <= target + (target / 10) || file.Extension.Equals(".gz", StringComparison.OrdinalIgnoreCase))
        {
            yield return new FileSplit(file.FullName, 0, file.Length);
            yield break;
        }
        var count = (file.Length + target - 1) / target;
        for (var i = 0L; i < count; i++)
        {
            var start = (long)((Int128)file.Length * i / count);
            var end = (long)((Int128)file.Length * (i + 1) / count);
            yield return new FileSplit(file.FullName, start, end - start);
        }
    }
}
