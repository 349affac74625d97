namespace Yarnish.Sources;

/// <summary>One split of a file, and how the whole file looked when the collection was made: a task that finds it otherwise says so instead of mixing old and new.</summary>
/// <param name="Path">Full path.</param>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes.</param>
/// <param name="FileLength">Bytes of the whole file.</param>
/// <param name="ModifiedTicks">When it was last written, as UTC ticks.</param>
internal readonly record struct FileSplit(string Path, long Offset, long Length, long FileLength, long ModifiedTicks)
{
    /// <summary>A whole file.</summary>
    public static FileSplit Whole(FileInfo file) => new(file.FullName, 0, file.Length, file.Length, file.LastWriteTimeUtc.Ticks);

    public static byte[] ToBytes(IReadOnlyList<FileSplit> splits)
    {
        using var buffer = new MemoryStream();
        using var writer = new BinaryWriter(buffer);
        foreach (var split in splits)
        {
            writer.Write(split.Path);
            writer.Write(split.Offset);
            writer.Write(split.Length);
            writer.Write(split.FileLength);
            writer.Write(split.ModifiedTicks);
        }
        writer.Flush();
        return buffer.ToArray();
    }

    public static IEnumerable<FileSplit> FromBytes(ReadOnlyMemory<byte> bytes)
    {
        var reader = new BinaryReader(new MemoryStream(bytes.ToArray(), writable: false));
        while (reader.BaseStream.Position < reader.BaseStream.Length)
        {
            yield return new FileSplit(reader.ReadString(), reader.ReadInt64(), reader.ReadInt64(), reader.ReadInt64(), reader.ReadInt64());
        }
    }
}
