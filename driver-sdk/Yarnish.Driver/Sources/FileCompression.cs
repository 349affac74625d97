namespace Yarnish;

/// <summary>How a file is compressed. Sources know it by the end of a file's name; sinks are told, and give the name its end.</summary>
public enum FileCompression
{
    /// <summary>Not at all. The only files of which a part can be read without the rest: big ones are split among tasks.</summary>
    None,

    /// <summary>gzip, <c>.gz</c>.</summary>
    Gzip,

    /// <summary>Brotli, <c>.br</c>.</summary>
    Brotli,

    /// <summary>Zstandard, <c>.zst</c>: the best choice where its readers know it.</summary>
    Zstandard,
}
