using System.Text;
using Yarnish.Executor;
using Yarnish.Operators;

namespace Yarnish.Sources;

/// <summary>Whole files, as bytes.</summary>
internal sealed class BinaryFilesOperator(int maximumFileBytes) : Operator<FileContent<byte[]>>
{
    private readonly int maximumFileBytes = maximumFileBytes;

    public override IEnumerable<FileContent<byte[]>> Open(OperatorInputs inputs, int partition)
    {
        foreach (var split in FileSplit.FromBytes(inputs.SourceInput(partition)))
        {
            var content = WholeFiles.Read(split, inputs.Task.Counters, maximumFileBytes, unpack: false);
            inputs.Task.Counters.InputRows++;
            yield return new FileContent<byte[]>(split.Path, content);
        }
    }
}

/// <summary>Whole files, as text; compressed ones are unpacked.</summary>
internal sealed class WholeTextOperator(int maximumFileBytes, TextEncoding? encoding) : Operator<FileContent<string>>
{
    private readonly int maximumFileBytes = maximumFileBytes;
    private readonly TextEncoding? encoding = encoding;

    public override IEnumerable<FileContent<string>> Open(OperatorInputs inputs, int partition)
    {
        var decoder = encoding?.Make() ?? Encoding.UTF8;
        foreach (var split in FileSplit.FromBytes(inputs.SourceInput(partition)))
        {
            ReadOnlySpan<byte> bytes = WholeFiles.Read(split, inputs.Task.Counters, maximumFileBytes, unpack: true);
            var text = Decode(decoder, bytes.StartsWith(decoder.Preamble) ? bytes[decoder.Preamble.Length..] : bytes, split.Path);
            inputs.Task.Counters.InputRows++;
            yield return new FileContent<string>(split.Path, text);
        }
    }

    private static string Decode(Encoding encoding, ReadOnlySpan<byte> bytes, string path)
    {
        try
        {
            return encoding.GetString(bytes);
        }
        catch (DecoderFallbackException error)
        {
            throw new InvalidDataException($"{path} is not {encoding.WebName}: {error.Message}");
        }
    }
}

/// <summary>Records of one length.</summary>
internal sealed class BinaryRecordsOperator(int recordBytes) : Operator<byte[]>
{
    private readonly int recordBytes = recordBytes;

    public override IEnumerable<byte[]> Open(OperatorInputs inputs, int partition)
    {
        foreach (var split in FileSplit.FromBytes(inputs.SourceInput(partition)))
        {
            using var stream = SourceStream.OpenBytes(split, inputs.Task.Counters, unpack: true);
            // A record is small where a read of the file should not be.
            using var buffered = new BufferedStream(stream, 1 << 16);
            while (true)
            {
                var record = new byte[recordBytes];
                var read = buffered.ReadAtLeast(record, recordBytes, throwOnEndOfStream: false);
                if (read == 0)
                {
                    break;
                }
                if (read < recordBytes)
                {
                    throw new InvalidDataException($"{split.Path} ends within a record: its last {read} bytes are no record of {recordBytes}.");
                }
                inputs.Task.Counters.InputRows++;
                yield return record;
            }
        }
    }
}

/// <summary>Files as a whole, in memory.</summary>
internal static class WholeFiles
{
    /// <summary>Refuses a file before any task is sent.</summary>
    public static Action<FileInfo> AtMost(int maximumFileBytes, string operation) => file =>
    {
        if (file.Length > maximumFileBytes)
        {
            throw new IOException(
                $"{operation}: '{file.FullName}' has {file.Length} bytes, and {nameof(maximumFileBytes)} is {maximumFileBytes}: a whole file is one row, which must fit into memory several times. Raise the limit, or read the file in pieces.");
        }
    };

    /// <summary>All bytes of a file.</summary>
    public static byte[] Read(FileSplit split, TaskCounters counters, int maximumFileBytes, bool unpack)
    {
        using var stream = SourceStream.OpenBytes(split, counters, unpack);
        var content = new MemoryStream((int)Math.Min(split.FileLength, maximumFileBytes));
        Span<byte> buffer = new byte[(int)Math.Min(split.FileLength + 1, 1 << 16)];
        while (stream.Read(buffer) is var read and > 0)
        {
            if (content.Length + read > maximumFileBytes)
            {
                throw new InvalidDataException($"{split.Path} unpacks to more than {maximumFileBytes} bytes, the limit that {nameof(maximumFileBytes)} sets.");
            }
            content.Write(buffer[..read]);
        }
        return content.Length == content.GetBuffer().Length ? content.GetBuffer() : content.ToArray();
    }
}
