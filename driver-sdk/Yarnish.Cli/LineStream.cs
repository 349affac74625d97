using System.Text;

namespace Yarnish.Cli;

/// <summary>A stream to write into that gives away whole lines. A line longer than 64 KiB is given away in pieces.</summary>
internal sealed class LineStream(Action<string> line) : Stream
{
    private const int MaximumLineBytes = 64 << 10;

    private readonly List<byte> rest = [];

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        foreach (var value in buffer)
        {
            if (value == (byte)'\n' || rest.Count >= MaximumLineBytes)
            {
                Emit();
            }
            if (value != (byte)'\n')
            {
                rest.Add(value);
            }
        }
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        Write(buffer.AsSpan(offset, count));
        return Task.CompletedTask;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Write(buffer.Span);
        return ValueTask.CompletedTask;
    }

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing && rest.Count > 0)
        {
            Emit();
        }
        base.Dispose(disposing);
    }

    private void Emit()
    {
        line(Encoding.UTF8.GetString([.. rest]).TrimEnd('\r'));
        rest.Clear();
    }
}
