using System.Data.Common;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Yarnish.Lineage;
using Yarnish.Sources;

namespace Yarnish;

/// <content>Collections of what is outside: files, databases, anything that streams.</content>
public sealed partial class YarnishSession
{
    /// <summary>Largest file that is a row, unless said otherwise: 64 MiB.</summary>
    private const int DefaultMaximumFileBytes = 64 << 20;

    /// <summary>
    /// The lines of text files. Big files are split among tasks; files ending in <c>.gz</c>, <c>.br</c> or <c>.zst</c> are unpacked, each by one task. Lines end with <c>\n</c> or
    /// <c>\r\n</c> and are at most 128 MiB long.
    /// </summary>
    /// <param name="path">A file, a folder, or a glob such as <c>logs/**/*.txt</c>, as the executors see it. Names that begin with <c>.</c> or <c>_</c> do not count unless written out.</param>
    /// <param name="minPartitions">At least so many partitions, as far as the files can be split; null for the session's parallelism.</param>
    /// <param name="encoding">
    /// Null for UTF-8 in which bytes that are none become U+FFFD. Else an encoding in which a newline is one byte: not UTF-16. One that throws on invalid bytes, such as
    /// <c>new UTF8Encoding(false, throwOnInvalidBytes: true)</c>, fails the task with file and place.
    /// </param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    public Rdd<string> ReadText(string path, int? minPartitions = null, Encoding? encoding = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        ReadText([path], minPartitions, encoding, file, line);

    /// <summary>The lines of several text files, folders or globs.</summary>
    /// <param name="paths">See <see cref="ReadText(string, int?, Encoding?, string, int)"/>.</param>
    /// <param name="minPartitions">At least so many partitions, as far as the files can be split; null for the session's parallelism.</param>
    /// <param name="encoding">See <see cref="ReadText(string, int?, Encoding?, string, int)"/>.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    public Rdd<string> ReadText(IEnumerable<string> paths, int? minPartitions = null, Encoding? encoding = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        SourceFiles.Read(Runner, new TextOperator(TextEncoding.From(encoding)), paths, minPartitions, SourceLocation.Of(file, line));

    /// <summary>Rows from files with a JSON value on each line; blank lines do not count. Found, split and unpacked as by <see cref="ReadText(string, int?, Encoding?, string, int)"/>.</summary>
    /// <param name="path">A file, a folder, or a glob.</param>
    /// <param name="malformed">What a line that is no <typeparamref name="T"/> means; fails by default.</param>
    /// <param name="minPartitions">At least so many partitions, as far as the files can be split; null for the session's parallelism.</param>
    /// <param name="options">Makes the options of System.Text.Json, in each task. Null for: names as declared whatever their case, fields too, NaN and infinities by name.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    /// <exception cref="ArgumentException"><typeparamref name="T"/> cannot be JSON.</exception>
    public Rdd<T> ReadJsonLines<T>(
        string path, MalformedRows malformed = MalformedRows.Fail, int? minPartitions = null, Func<JsonSerializerOptions>? options = null,
        [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        if (options is null)
        {
            JsonLines.Require<T>(nameof(ReadJsonLines));
        }
        else
        {
            SourceLocation.RequireTravels(Runner, options, nameof(ReadJsonLines), SourceLocation.Of(file, line));
        }
        return SourceFiles.Read(Runner, new JsonLinesOperator<T>(malformed, options), [path], minPartitions, SourceLocation.Of(file, line));
    }

    /// <summary>
    /// Rows from CSV files (RFC 4180, UTF-8). Columns are found by the header of each file, exactly or else whatever their case; <c>[JsonPropertyName]</c> gives a member another name. An
    /// unquoted empty field is null, <c>""</c> is empty text. A file is split among tasks only where <see cref="CsvOptions.MultilineFields"/> is false.
    /// </summary>
    /// <param name="path">A file, a folder, or a glob.</param>
    /// <param name="options">Separator, header, line breaks in fields; null for the defaults.</param>
    /// <param name="malformed">What a row that does not parse means; fails by default.</param>
    /// <param name="minPartitions">At least so many partitions, as far as the files can be split; null for the session's parallelism.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <typeparam name="T">A record, class, struct or tuple of text, numbers, times, enums and what else can be parsed; or <c>string[]</c> for the fields as they are.</typeparam>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    /// <exception cref="ArgumentException"><typeparamref name="T"/> cannot be a row of CSV.</exception>
    public Rdd<T> ReadCsv<T>(
        string path, CsvOptions? options = null, MalformedRows malformed = MalformedRows.Fail, int? minPartitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        options = (options ?? new CsvOptions()).Checked(nameof(ReadCsv));
        _ = CsvColumns<T>.All;
        return SourceFiles.Read(Runner, new CsvOperator<T>(options, malformed), [path], minPartitions, SourceLocation.Of(file, line), unit: options.MultilineFields ? 0 : 1);
    }

    /// <summary>Whole files as bytes, with their paths; as they are, not unpacked. Small ones share a task.</summary>
    /// <param name="path">A file, a folder, or a glob.</param>
    /// <param name="maximumFileBytes">Refuses larger files at once; default 64 MiB. A file is a row, which must fit into memory several times.</param>
    /// <param name="minPartitions">At least so many partitions, as far as there are files; null for the session's parallelism.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    /// <exception cref="IOException">A file is too large.</exception>
    public Rdd<FileContent<byte[]>> ReadBinaryFiles(
        string path, int maximumFileBytes = DefaultMaximumFileBytes, int? minPartitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maximumFileBytes, 1);
        return SourceFiles.Read(
            Runner, new BinaryFilesOperator(maximumFileBytes), [path], minPartitions, SourceLocation.Of(file, line), unit: 0, WholeFiles.AtMost(maximumFileBytes, nameof(ReadBinaryFiles)));
    }

    /// <summary>Whole files as text, with their paths; <c>.gz</c>, <c>.br</c> and <c>.zst</c> are unpacked. Small ones share a task.</summary>
    /// <param name="path">A file, a folder, or a glob.</param>
    /// <param name="maximumFileBytes">Refuses larger files at once, and those that unpack to more; default 64 MiB.</param>
    /// <param name="encoding">Null for UTF-8 in which bytes that are none become U+FFFD; any other too.</param>
    /// <param name="minPartitions">At least so many partitions, as far as there are files; null for the session's parallelism.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    /// <exception cref="IOException">A file is too large.</exception>
    public Rdd<FileContent<string>> ReadWholeText(
        string path, int maximumFileBytes = DefaultMaximumFileBytes, Encoding? encoding = null, int? minPartitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maximumFileBytes, 1);
        return SourceFiles.Read(
            Runner, new WholeTextOperator(maximumFileBytes, encoding is null ? null : TextEncoding.Of(encoding)), [path], minPartitions, SourceLocation.Of(file, line), unit: 0,
            WholeFiles.AtMost(maximumFileBytes, nameof(ReadWholeText)));
    }

    /// <summary>Records of one length, without anything between them. Big files are split among tasks; compressed ones are unpacked.</summary>
    /// <param name="path">A file, a folder, or a glob.</param>
    /// <param name="recordBytes">Length of a record; at least 1.</param>
    /// <param name="minPartitions">At least so many partitions, as far as the files can be split; null for the session's parallelism.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    /// <exception cref="IOException">A file is not a whole number of records long.</exception>
    public Rdd<byte[]> ReadBinaryRecords(string path, int recordBytes, int? minPartitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(recordBytes, 1);
        return SourceFiles.Read(Runner, new BinaryRecordsOperator(recordBytes), [path], minPartitions, SourceLocation.Of(file, line), unit: recordBytes, check =>
        {
            if (CompressedFiles.Of(check.FullName) == FileCompression.None && check.Length % recordBytes != 0)
            {
                throw new IOException($"{nameof(ReadBinaryRecords)}: '{check.FullName}' has {check.Length} bytes, which is no whole number of records of {recordBytes}.");
            }
        });
    }

    /// <summary>Rows that <c>SaveAsObjectsAsync</c> wrote.</summary>
    /// <param name="path">A file, a folder, or a glob.</param>
    /// <param name="minPartitions">At least so many partitions, as far as there are files; null for the session's parallelism.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    /// <typeparam name="T">What they were; another type with the same members will do.</typeparam>
    /// <exception cref="FileNotFoundException">Nothing is there.</exception>
    public Rdd<T> ReadObjects<T>(string path, int? minPartitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0) =>
        SourceFiles.Read(Runner, new ObjectsOperator<T>(), [path], minPartitions, SourceLocation.Of(file, line), unit: 0);

    /// <summary>
    /// Rows that a function streams, partition by partition: a queue, a web service, a file format of your own. Rows are asked for as the task wants them. When the task is stopped, the token
    /// of <c>GetAsyncEnumerator</c> (<c>[EnumeratorCancellation]</c>) is cancelled; the enumerator is disposed at the end, also of a task that stops early.
    /// </summary>
    /// <param name="count">How many partitions; 0 or more.</param>
    /// <param name="partition">Gives the rows of a partition. Runs again when a task is tried again: let it give the same rows.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<T> FromPartitions<T>(int count, Func<int, IAsyncEnumerable<T>> partition, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        SourceLocation.RequireTravels(Runner, partition, nameof(FromPartitions), SourceLocation.Of(file, line));
        return new Rdd<T>(Runner, new LineageNode
        {
            Operator = new AsyncPartitionsOperator<T>(partition), Partitions = count, Label = nameof(FromPartitions), CallSite = SourceLocation.Of(file, line),
        });
    }

    /// <summary>The rows of a query, read through ADO.NET by the tasks, each through a connection of its own. The driver itself needs no way to the database.</summary>
    /// <param name="connect">
    /// Makes a connection, open or not; runs on executors, so it must not capture one. The provider's assembly is part of the program's output and travels with it; so does what the function
    /// captures, such as a connection string.
    /// </param>
    /// <param name="query">A <c>SELECT</c>. When there are partitions it becomes <c>SELECT * FROM (query) yarnish_part WHERE condition</c>: no <c>ORDER BY</c>, each column with a name of its own.</param>
    /// <param name="row">Makes a row of the reader's current record; reads its columns once each, in their order.</param>
    /// <param name="partitions">How the query is cut; null for a single partition.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public Rdd<T> ReadDatabase<T>(
        Func<DbConnection> connect, string query, Func<DbDataReader, T> row, DatabasePartitions? partitions = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(query);
        SourceLocation.RequireTravels(Runner, connect, nameof(ReadDatabase), SourceLocation.Of(file, line));
        SourceLocation.RequireTravels(Runner, row, nameof(ReadDatabase), SourceLocation.Of(file, line));
        DatabasePart[] parts = partitions is null ? [new DatabasePart("", [])] : [.. partitions.Parts];
        return new Rdd<T>(Runner, new LineageNode
        {
            Operator = new DatabaseOperator<T>(connect, query, row, parts), Partitions = parts.Length, Label = nameof(ReadDatabase), CallSite = SourceLocation.Of(file, line),
            // A database answers in any order it likes.
            Unordered = true,
        });
    }
}
