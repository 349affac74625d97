using CsvHelper;
using Yarnish.Executor;
using Yarnish.Operators;

namespace Yarnish.Sources;

/// <summary>The records of CSV files as rows; columns are found by the header of each file.</summary>
internal sealed class CsvOperator<T>(CsvOptions options, MalformedRows malformed) : Operator<T>
{
    private readonly CsvOptions options = options;
    private readonly MalformedRows malformed = malformed;

    public override IEnumerable<T> Open(OperatorInputs inputs, int partition)
    {
        foreach (var split in FileSplit.FromBytes(inputs.SourceInput(partition)))
        {
            using var problems = new MalformedInput(malformed, split.Path, inputs.Task);
            foreach (var row in Read(split, inputs.Task, problems))
            {
                inputs.Task.Counters.InputRows++;
                yield return row;
            }
        }
    }

    private IEnumerable<T> Read(FileSplit split, TaskRuntime task, MalformedInput problems)
    {
        var first = split.Offset == 0;
        var header = first || !options.HasHeader ? null : HeaderOf(split);
        using var stream = SourceStream.OpenLines(split, task.Counters);
        using var reader = CsvReader.Create(stream, Settings(first && options.HasHeader) with { OnMalformedRecord = TakeMalformed }, leaveOpen: true);
        int[]? columns = null;
        var expected = 0;
        while (Next(reader, split))
        {
            if (columns is null)
            {
                header ??= options.HasHeader ? reader.Headers : null;
                columns = Locate(header, split.Path);
                expected = header?.Count ?? (CsvColumns<T>.AreFields ? reader.FieldCount : columns.Length);
            }
            if (reader.FieldCount != expected)
            {
                problems.Add(Place(reader.LineNumber, reader.ByteOffset), reader.RawRecord, $"The row has {reader.FieldCount} fields where {expected} are expected.");
                continue;
            }
            T row;
            try
            {
                row = CsvColumns<T>.Read(reader, columns);
            }
            catch (CsvFieldException error)
            {
                problems.Add(Place(reader.LineNumber, reader.ByteOffset), reader.RawRecord, error.Message);
                continue;
            }
            yield return row;
        }

        string Place(long line, long offset) => first ? $"line {line} (byte {offset})" : $"the row at byte {stream.Start + offset}";

        void TakeMalformed(CsvMalformedRecord record)
        {
            var (place, text) = (Place(record.LineNumber, record.ByteOffset), System.Text.Encoding.UTF8.GetBytes(record.RawRecord ?? ""));
            if (first && options.HasHeader && record.RecordNumber == 1)
            {
                // Passing over it would make a header of the first row.
                throw problems.Error(place, text, $"The header is malformed: {record.Reason}.", "correct the file");
            }
            switch (record.Reason)
            {
                case CsvMalformedReason.UnterminatedQuote:
                    // How many rows it swallowed nobody knows: nothing to skip over.
                    throw problems.Error(place, text, "A quoted field is never closed.", "correct the file");
                case CsvMalformedReason.LineBreakInQuotes:
                    problems.Add(place, text, "A quoted field contains a line break, though CsvOptions.MultilineFields is false.");
                    break;
                case var reason:
                    problems.Add(place, text, reason switch
                    {
                        CsvMalformedReason.StrayQuote => "A quote stands inside an unquoted field.",
                        CsvMalformedReason.TextAfterClosingQuote => "Text follows the closing quote of a field.",
                        _ => $"Malformed: {reason}.",
                    });
                    break;
            }
        }
    }

    private CsvReaderOptions Settings(bool hasHeader) => new()
    {
        Separator = options.Separator,
        HasHeader = hasHeader,
        AllowLineBreaksInQuotes = options.MultilineFields,
        MaxRecordSize = options.MaximumRowBytes,
        MalformedData = CsvMalformedDataHandling.Skip,
        TrackLineNumbers = true,
        DetectSeparatorHint = false,
        TrimWhitespace = false,
    };

    private static bool Next(CsvReader reader, FileSplit split)
    {
        try
        {
            return reader.Read();
        }
        catch (CsvFormatException error)
        {
            throw new InvalidDataException($"{split.Path}: {error.Message} Rows longer than CsvOptions.MaximumRowBytes mostly mean a quote that is never closed.", error);
        }
    }

    /// <summary>The names of the columns, which stand at the start of the file.</summary>
    private IReadOnlyList<string> HeaderOf(FileSplit split)
    {
        // Not counted as input: each split of the file reads it.
        using var stream = SourceStream.OpenBytes(split with { Offset = 0, Length = split.FileLength }, new TaskCounters(), unpack: true);
        using var reader = CsvReader.Create(stream, Settings(hasHeader: true) with { MalformedData = CsvMalformedDataHandling.Throw }, leaveOpen: true);
        try
        {
            return [.. reader.Headers];
        }
        catch (CsvFormatException error)
        {
            throw new InvalidDataException($"{split.Path}: the header is malformed: {error.Message}", error);
        }
    }

    /// <summary>Where each column of the row type stands; -1 for one that the file lacks.</summary>
    private static int[] Locate(IReadOnlyList<string>? header, string path)
    {
        if (CsvColumns<T>.AreFields)
        {
            return [];
        }
        var wanted = CsvColumns<T>.All;
        if (header is null || CsvColumns<T>.ByPosition)
        {
            return header is null || header.Count == wanted.Count
                ? [.. Enumerable.Range(0, wanted.Count)]
                : throw new InvalidDataException($"{path} has {header.Count} columns, a {typeof(T)} has {wanted.Count}.");
        }
        return [.. wanted.Select(Find)];

        int Find(CsvColumn column)
        {
            var index = Index(StringComparison.Ordinal);
            index = index < 0 ? Index(StringComparison.OrdinalIgnoreCase) : index;
            return index >= 0 || column.Optional ? index : throw new InvalidDataException(
                $"{path} has no column '{column.Name}'; it has: {string.Join(", ", header.Select(name => $"'{name}'"))}. Name it with [JsonPropertyName], make it nullable, or say CsvOptions.HasHeader = false.");

            int Index(StringComparison comparison)
            {
                var found = -1;
                for (var i = 0; i < header.Count; i++)
                {
                    if (header[i].Equals(column.Name, comparison))
                    {
                        found = found < 0 ? i : throw new InvalidDataException($"{path} has two columns '{header[i]}': which of them is meant nobody can tell. Correct the header, or read string[].");
                    }
                }
                return found;
            }
        }
    }
}
