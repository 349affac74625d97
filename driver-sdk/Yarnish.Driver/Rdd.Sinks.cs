using System.Runtime.CompilerServices;
using System.Text.Json;
using Yarnish.Executor;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Sinks;
using Yarnish.Sources;

namespace Yarnish;

/// <content>Where rows go: files, or a sink of the user's own.</content>
public partial class Rdd<T>
{
    /// <summary>
    /// Writes each row as a line of UTF-8 into <c>part-00000.txt</c>, <c>part-00001.txt</c>, … of a directory, a file for each partition, and <c>_SUCCESS</c> when all are there. Each partition is
    /// committed once, whatever was tried twice; a save that fails leaves the directory as it was. On a fleet it must be on storage that every node and the driver see.
    /// </summary>
    /// <param name="directory">Where to; seen under the same path by every node and the driver.</param>
    /// <param name="mode">What to do when it has content; fails by default.</param>
    /// <param name="compression">How to pack the files; not at all by default.</param>
    /// <param name="cancellation">Cancels the job; the directory is then as it was.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <remarks>Rows are written by <c>ToString</c>, in the invariant culture. A row with a line break in it becomes several lines: use JSON lines for such.</remarks>
    /// <exception cref="IOException">The directory cannot be written, or has content and <paramref name="mode"/> keeps it.</exception>
    /// <exception cref="YarnishJobException">A task failed for good.</exception>
    public Task SaveAsTextAsync(
        string directory, SaveMode mode = SaveMode.ErrorIfExists, FileCompression compression = FileCompression.None,
        CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        SaveFilesAsync(directory, new TextFormat<T>(), mode, compression, Name(file, line), cancellation);

    /// <summary>Writes each row as JSON on a line of its own, into <c>part-00000.jsonl</c>, …; otherwise as <see cref="SaveAsTextAsync"/>. <c>ReadJsonLines</c> reads it.</summary>
    /// <param name="directory">Where to; seen under the same path by every node and the driver.</param>
    /// <param name="mode">What to do when it has content; fails by default.</param>
    /// <param name="compression">How to pack the files; not at all by default.</param>
    /// <param name="options">Makes the options of System.Text.Json, in each task. Null for: names as declared, fields too, NaN and infinities by name.</param>
    /// <param name="cancellation">Cancels the job; the directory is then as it was.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="ArgumentException">The rows cannot be JSON.</exception>
    /// <exception cref="IOException">The directory cannot be written, or has content and <paramref name="mode"/> keeps it.</exception>
    /// <exception cref="YarnishJobException">A task failed for good.</exception>
    public Task SaveAsJsonLinesAsync(
        string directory, SaveMode mode = SaveMode.ErrorIfExists, FileCompression compression = FileCompression.None, Func<JsonSerializerOptions>? options = null,
        CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        if (options is null)
        {
            JsonLines.Require<T>(nameof(SaveAsJsonLinesAsync));
        }
        else
        {
            SourceLocation.RequireTravels(Runner, options, nameof(SaveAsJsonLinesAsync), SourceLocation.Of(file, line));
        }
        return SaveFilesAsync(directory, new JsonLinesFormat<T>(options), mode, compression, Name(file, line), cancellation);
    }

    /// <summary>
    /// Writes each row as a record of CSV, into <c>part-00000.csv</c>, …, each with a header; otherwise as <see cref="SaveAsTextAsync"/>. Columns are what a row is made of: the parameters of its
    /// constructor and what else can be set. Null is an empty field, empty text is <c>""</c>; in files of a single column both are <c>""</c>. <c>ReadCsv</c> reads it.
    /// </summary>
    /// <param name="directory">Where to; seen under the same path by every node and the driver.</param>
    /// <param name="options">Separator and header; null for the defaults. Rows of <c>string[]</c> have no header.</param>
    /// <param name="mode">What to do when it has content; fails by default.</param>
    /// <param name="compression">How to pack the files; not at all by default.</param>
    /// <param name="cancellation">Cancels the job; the directory is then as it was.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="ArgumentException">The rows cannot be CSV.</exception>
    /// <exception cref="IOException">The directory cannot be written, or has content and <paramref name="mode"/> keeps it.</exception>
    /// <exception cref="YarnishJobException">A task failed for good.</exception>
    public Task SaveAsCsvAsync(
        string directory, CsvOptions? options = null, SaveMode mode = SaveMode.ErrorIfExists, FileCompression compression = FileCompression.None,
        CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        _ = CsvColumns<T>.All;
        return SaveFilesAsync(directory, new CsvFormat<T>((options ?? new CsvOptions()).Checked(nameof(SaveAsCsvAsync))), mode, compression, Name(file, line), cancellation);
    }

    /// <summary>
    /// Writes the rows as they travel between tasks, compact and checked, into <c>part-00000.rows</c>, …; otherwise as <see cref="SaveAsTextAsync"/>. <c>ReadObjects</c> reads it, every type of row
    /// comes back as it was.
    /// </summary>
    /// <param name="directory">Where to; seen under the same path by every node and the driver.</param>
    /// <param name="mode">What to do when it has content; fails by default.</param>
    /// <param name="cancellation">Cancels the job; the directory is then as it was.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="IOException">The directory cannot be written, or has content and <paramref name="mode"/> keeps it.</exception>
    /// <exception cref="YarnishJobException">A task failed for good.</exception>
    public Task SaveAsObjectsAsync(
        string directory, SaveMode mode = SaveMode.ErrorIfExists, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        _ = Serialization.RowFormats.For<T>();
        return SaveFilesAsync(directory, new ObjectsFormat<T>(), mode, FileCompression.None, Name(file, line), cancellation);
    }

    /// <summary>Writes the rows of each partition by a function of yours into <c>part-00000</c> and your extension, …; otherwise as <see cref="SaveAsTextAsync"/>.</summary>
    /// <param name="directory">Where to; seen under the same path by every node and the driver.</param>
    /// <param name="extension">Ends the names of the files, such as <c>.xml</c>; may be empty.</param>
    /// <param name="write">Writes all rows of a partition into a stream, which it may close. Runs again when a task is tried again; only one of its files is taken.</param>
    /// <param name="mode">What to do when it has content; fails by default.</param>
    /// <param name="compression">How to pack the files; not at all by default.</param>
    /// <param name="cancellation">Cancels the job; the directory is then as it was.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="IOException">The directory cannot be written, or has content and <paramref name="mode"/> keeps it.</exception>
    /// <exception cref="YarnishJobException">A task failed for good.</exception>
    public Task SaveAsFilesAsync(
        string directory, string extension, Action<IEnumerable<T>, Stream> write, SaveMode mode = SaveMode.ErrorIfExists, FileCompression compression = FileCompression.None,
        CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(extension);
        if (extension.AsSpan().IndexOfAny(Path.GetInvalidFileNameChars()) >= 0)
        {
            throw new ArgumentException($"'{extension}' cannot end the name of a file.", nameof(extension));
        }
        SourceLocation.RequireTravels(Runner, write, nameof(SaveAsFilesAsync), SourceLocation.Of(file, line));
        return SaveFilesAsync(directory, new CustomFormat<T>(extension, write), mode, compression, Name(file, line), cancellation);
    }

    /// <summary>Writes the rows to a sink of your own; see <see cref="Sink{T}"/> for its part of the bargain.</summary>
    /// <param name="sink">Where to. It serves one save.</param>
    /// <param name="cancellation">Cancels the job; nothing is then committed.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="YarnishJobException">A task failed for good.</exception>
    public Task SaveAsync(Sink<T> sink, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentNullException.ThrowIfNull(sink);
        SourceLocation.RequireTravels(Runner, (Func<IEnumerable<T>, TaskContext, Task<SinkReceipt>>)sink.WriteAsync, nameof(SaveAsync), SourceLocation.Of(file, line));
        return SaveToAsync(sink, Name(file, line), cancellation);
    }

    private Task SaveFilesAsync(string directory, FileFormat<T> format, SaveMode mode, FileCompression compression, string name, CancellationToken cancellation, [CallerMemberName] string operation = "")
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        return SaveToAsync(new FileSink<T>(Path.GetFullPath(directory), mode, format, compression, operation), name, cancellation);
    }

    private async Task SaveToAsync(Sink<T> sink, string name, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        try
        {
            if (!await sink.PrepareAsync(cancellation).ConfigureAwait(false))
            {
                return;
            }
            var receipts = new SinkReceipt[Partitions];
            await RunAsync(new SaveAction<T>(sink), name, null, (partition, result) => receipts[partition] = Rows.FromBytes<SinkReceipt>(result), cancellation).ConfigureAwait(false);
            await sink.CommitAsync(receipts).ConfigureAwait(false);
        }
        finally
        {
            await sink.EndAsync().ConfigureAwait(false);
        }
    }
}
