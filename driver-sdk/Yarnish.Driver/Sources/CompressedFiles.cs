using System.IO.Compression;
using ZstdSharp;

namespace Yarnish.Sources;

/// <summary>Compressed files: which they are, how they are unpacked and packed.</summary>
internal static class CompressedFiles
{
    private const int BufferBytes = 1 << 16;

    /// <summary>Has .NET refuse compressed files that end too early. Without it a gzip file that was cut off ends where it was cut: rows would be missing from the answer and
    /// nobody would know. Read by .NET at the first use of compression in the process, hence also set when a session is made.</summary>
    public static void CountTruncatedAsDamaged() => AppContext.SetSwitch("System.IO.Compression.UseStrictValidation", true);

    static CompressedFiles() => CountTruncatedAsDamaged();

    /// <summary>By the end of the name.</summary>
    public static FileCompression Of(string path) => Path.GetExtension(path.AsSpan()) switch
    {
        var extension when extension.Equals(".gz", StringComparison.OrdinalIgnoreCase) => FileCompression.Gzip,
        var extension when extension.Equals(".br", StringComparison.OrdinalIgnoreCase) => FileCompression.Brotli,
        var extension when extension.Equals(".zst", StringComparison.OrdinalIgnoreCase) => FileCompression.Zstandard,
        _ => FileCompression.None,
    };

    /// <summary>The end of the name; empty for none.</summary>
    public static string ExtensionOf(FileCompression compression) => compression switch
    {
        FileCompression.None => "",
        FileCompression.Gzip => ".gz",
        FileCompression.Brotli => ".br",
        FileCompression.Zstandard => ".zst",
        _ => throw new ArgumentOutOfRangeException(nameof(compression), compression, "No such compression."),
    };

    /// <summary>What people call it.</summary>
    public static string NameOf(FileCompression compression) => compression switch
    {
        FileCompression.Gzip => "gzip",
        FileCompression.Brotli => "Brotli",
        FileCompression.Zstandard => "Zstandard",
        _ => "uncompressed",
    };

    /// <summary>Reads what <paramref name="packed"/> holds. Disposing it leaves <paramref name="packed"/> open.</summary>
    public static Stream Unpack(Stream packed, FileCompression compression) => compression switch
    {
        FileCompression.Gzip => new GZipStream(packed, CompressionMode.Decompress, leaveOpen: true),
        FileCompression.Brotli => new BrotliStream(packed, CompressionMode.Decompress, leaveOpen: true),
        FileCompression.Zstandard => new DecompressionStream(packed, BufferBytes, checkEndOfStream: true, leaveOpen: true),
        _ => packed,
    };

    /// <summary>Writes into <paramref name="packed"/> what is written to it. Disposing it ends the compressed content and leaves <paramref name="packed"/> open.</summary>
    public static Stream Pack(Stream packed, FileCompression compression) => compression switch
    {
        FileCompression.Gzip => new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true),
        FileCompression.Brotli => new BrotliStream(packed, CompressionLevel.Fastest, leaveOpen: true),
        FileCompression.Zstandard => new CompressionStream(packed, leaveOpen: true),
        _ => packed,
    };
}
