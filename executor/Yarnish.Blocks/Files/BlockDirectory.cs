using System.Buffers;
using System.Collections.Concurrent;
using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Yarnish.Protocol;

namespace Yarnish.Blocks;

/// <summary>
/// The blocks of one application on one node, shared by its executors there and by the agent that serves them. Files appear by an atomic rename, carry the id of the
/// attempt that wrote them, and never change afterwards.
/// <code>
/// shuffle/{shuffle}/{map}-{attempt}.data|.index      map output; the index, renamed last, makes it exist
/// named/{block}                                      large results, persisted partitions, pieces of broadcasts
/// *.tmp                                              being written
/// </code>
/// </summary>
public sealed class BlockDirectory
{
    private const int FrameTarget = 1024 * 1024;

    private readonly ShuffleIndexCache indexes;
    private readonly ConcurrentDictionary<string, bool> created = new(StringComparer.Ordinal);

    /// <summary>Over a directory, which is created when something is written.</summary>
    public BlockDirectory(string root)
        : this(root, new ShuffleIndexCache())
    {
    }

    internal BlockDirectory(string root, ShuffleIndexCache indexes)
    {
        Root = Path.GetFullPath(root);
        this.indexes = indexes;
    }

    /// <summary>The directory.</summary>
    public string Root { get; }

    /// <summary>Writes a named block. A block of that name is replaced.</summary>
    /// <exception cref="IOException">The disk is full or broken.</exception>
    public void WriteNamed(BlockId block, ReadOnlySpan<byte> content)
    {
        using var output = CreateNamed(block);
        do
        {
            var length = Math.Min(content.Length, FrameTarget);
            output.AppendFrame(content[..length]);
            content = content[length..];
        }
        while (content.Length > 0);
        output.Commit();
    }

    /// <summary>Reads a named block whole, verified.</summary>
    /// <exception cref="BlockMissingException">There is none.</exception>
    /// <exception cref="BlockCorruptException">It is damaged.</exception>
    public byte[] ReadNamed(BlockId block)
    {
        using var file = OpenNamed(block);
        var content = new ArrayBufferWriter<byte>();
        using var frames = new FrameReader(file, $"block {block}");
        frames.Start(0, RandomAccess.GetLength(file));
        while (frames.TryRead(out var frame))
        {
            content.Write(frame.Span);
        }
        return content.WrittenSpan.ToArray();
    }

    /// <summary>Whether a named block is here. Its content is verified when it is read.</summary>
    public bool HasNamed(BlockId block) => File.Exists(NamedPath(block));

    /// <summary>Deletes a named block; nothing happens when there is none.</summary>
    public void DeleteNamed(BlockId block)
    {
        try
        {
            File.Delete(NamedPath(block));
        }
        catch (DirectoryNotFoundException)
        {
        }
    }

    /// <summary>Deletes every named block whose name starts so; nothing happens when there are none. Readers that have a file open finish.</summary>
    public void DeleteNamed(string prefix)
    {
        var folder = Path.Combine(Root, "named");
        if (!Directory.Exists(folder))
        {
            return;
        }
        foreach (var path in Directory.EnumerateFiles(folder, prefix + "*"))
        {
            File.Delete(path);
        }
    }

    /// <summary>Opens a named block for writing; it exists when the file is committed, and replaces one of that name.</summary>
    /// <exception cref="IOException">The disk is full or broken.</exception>
    internal FrameFile CreateNamed(BlockId block)
    {
        var path = NamedPath(block);
        EnsureDirectory(Path.GetDirectoryName(path)!);
        return new FrameFile(path);
    }

    /// <summary>Bytes of a named block as it is on disk; null when there is none.</summary>
    internal long? LengthOfNamed(BlockId block)
    {
        var file = new FileInfo(NamedPath(block));
        return file.Exists ? file.Length : null;
    }

    /// <summary>Deletes the files of a shuffle; nothing happens when there are none. Readers that have a file open finish.</summary>
    public void DeleteShuffle(ShuffleId shuffle) => DeleteTree(ShuffleDirectory(shuffle));

    /// <summary>Deletes everything.</summary>
    public void DeleteAll() => DeleteTree(Root);

    internal string DataPath(MapOutputId output) => Path.Combine(ShuffleDirectory(output.ShuffleId), FileName(output) + ".data");

    internal string IndexPath(MapOutputId output) => Path.Combine(ShuffleDirectory(output.ShuffleId), FileName(output) + ".index");

    internal string ShuffleDirectory(ShuffleId shuffle) => Path.Combine(Root, "shuffle", shuffle.ToString());

    internal ShuffleIndex ReadIndex(MapOutputId output) => indexes.Get(IndexPath(output), output);

    /// <summary>Opens the data file of an index, and checks that it is as long as the index says.</summary>
    internal SafeFileHandle OpenData(ShuffleIndex index)
    {
        var path = DataPath(index.Id);
        SafeFileHandle file;
        try
        {
            file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            indexes.Forget(IndexPath(index.Id));
            throw new BlockMissingException($"No data of {index.Id} at {path}.", error);
        }
        if (RandomAccess.GetLength(file) is var length && length != index.DataLength)
        {
            file.Dispose();
            throw new BlockCorruptException($"The data of {index.Id} has {length} bytes; its index says {index.DataLength} ({path}).");
        }
        return file;
    }

    internal SafeFileHandle OpenNamed(BlockId block)
    {
        var path = NamedPath(block);
        try
        {
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new BlockMissingException($"No block {block} at {path}.", error);
        }
    }

    internal void EnsureDirectory(string path)
    {
        if (created.ContainsKey(path) && Directory.Exists(path))
        {
            return;
        }
        Directory.CreateDirectory(path);
        created[path] = true;
    }

    // A BlockId made with its constructor has not been checked: file names are.
    private string NamedPath(BlockId block) => Path.Combine(Root, "named", BlockId.Create(block.Value).Value);

    private static string FileName(MapOutputId output) => string.Create(CultureInfo.InvariantCulture, $"{output.MapPartition}-{output.AttemptId.Value}");

    private void DeleteTree(string path)
    {
        created.TryRemove(path, out _);
        try
        {
            Directory.Delete(path, recursive: true);
        }
        catch (DirectoryNotFoundException)
        {
        }
    }
}
