// A driver that reads a result far larger than its own memory, and checks every row. Arguments: MiB of rows, partitions. Prints "rows bytes peak", the peak of its resident memory in bytes.
using System.Buffers.Binary;
using System.Globalization;
using Yarnish;

const int RowBytes = 1024;

await using var session = await YarnishSession.CreateBuilder(args).WithName("streamed-result").ConnectAsync();
var rows = long.Parse(session.Arguments[0], CultureInfo.InvariantCulture) * 1024;

var (next, bytes) = (0L, 0L);
await foreach (var row in session.Range(0L, rows, int.Parse(session.Arguments[1], CultureInfo.InvariantCulture)).Select(static number => Row(number)).ToAsyncEnumerable())
{
    if (row.Length != RowBytes || BinaryPrimitives.ReadInt64LittleEndian(row) != next || row[^1] != (byte)(next * 31))
    {
        throw new InvalidDataException($"Row {next} is not what was made.");
    }
    next++;
    bytes += row.Length;
}

var peak = long.Parse(File.ReadLines("/proc/self/status").Single(static line => line.StartsWith("VmHWM:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{next} {bytes} {peak}"));

static byte[] Row(long number)
{
    // Bytes that no compression makes small, but cheap ones: this test is of memory.
    var row = new byte[RowBytes];
    var state = (ulong)number + 1;
    for (var at = 8; at < RowBytes; at += 8)
    {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        BinaryPrimitives.WriteUInt64LittleEndian(row.AsSpan(at), state);
    }
    BinaryPrimitives.WriteInt64LittleEndian(row, number);
    row[^1] = (byte)(number * 31);
    return row;
}
