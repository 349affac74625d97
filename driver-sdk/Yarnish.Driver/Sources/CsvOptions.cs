namespace Yarnish;

/// <summary>How CSV files are written: RFC 4180 with these choices, UTF-8.</summary>
public sealed record CsvOptions
{
    /// <summary>Between fields; default <c>,</c>.</summary>
    public char Separator { get; init; } = ',';

    /// <summary>Whether each file begins with the names of its columns; default true. Without it columns are told apart by their order.</summary>
    public bool HasHeader { get; init; } = true;

    /// <summary>
    /// Whether quoted fields may contain line breaks; default true. Then nobody can tell in the middle of a file where a row begins, so each file is read by one task. Say false for big
    /// files without such fields, and they are split among tasks; a line break in quotes is then a malformed row, never a wrong one.
    /// </summary>
    public bool MultilineFields { get; init; } = true;

    /// <summary>Longest row, in bytes; default 16 MiB. Longer ones fail the task: mostly a quote was never closed.</summary>
    public int MaximumRowBytes { get; init; } = 16 << 20;

    /// <summary>Refuses what cannot be, where it is written.</summary>
    internal CsvOptions Checked(string operation) =>
        Separator is '"' or '\r' or '\n' ? throw new ArgumentException($"{operation}: fields cannot be separated by quotes or line breaks.")
        : MaximumRowBytes < 1 ? throw new ArgumentException($"{operation}: {nameof(MaximumRowBytes)} must be at least 1.")
        : this;
}
