using System.Buffers;
using System.Diagnostics;

namespace Yarnish.Blocks;

/// <summary>
/// Writes the output of one map task attempt: a growing buffer per reducer, compressed into frames; all of them appended to the data file as one more segment when
/// they exceed the memory limit, and at the end. Used by one thread. Disposed without <see cref="Finish"/> it leaves nothing behind.
/// </summary>
internal class ShuffleFileWriter : IDisposable
{
    // A frame of this size decompresses inside a core's own cache and is still large for LZ4.
    private const int FrameTarget = 256 * 1024;
    private const int FirstBuffer = 512;

    private readonly BlockDirectory directory;
    private readonly MapOutputId id;
    private readonly Part?[] parts;
    private readonly long memoryLimit;
    private readonly long[] partBytes;
    private readonly List<long> offsets = [];
    private FrameFile? data;
    private long memory;
    private long writeTicks;
    private long finishedBytes;
    private bool finished;

    /// <summary>Nothing touches the disk before the first spill or the end.</summary>
    /// <param name="directory">Where.</param>
    /// <param name="id">Whose output.</param>
    /// <param name="reducers">How many parts, at least 1.</param>
    /// <param name="memoryLimit">Bytes of buffers after which it spills; raised to what so many reducers need at least.</param>
    public ShuffleFileWriter(BlockDirectory directory, MapOutputId id, int reducers, long memoryLimit)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(reducers, 1);
        this.directory = directory;
        this.id = id;
        this.memoryLimit = Math.Max(memoryLimit, 64 * 1024 + 2L * FirstBuffer * reducers);
        parts = new Part?[reducers];
        partBytes = new long[reducers];
    }

    /// <summary>Rows written so far.</summary>
    public long Rows { get; private set; }

    /// <summary>Bytes appended before the end because memory was short.</summary>
    public long SpilledBytes { get; private set; }

    /// <summary>Bytes in the data file so far.</summary>
    public long WrittenBytes => data?.Length ?? finishedBytes;

    /// <summary>Spent compressing and writing.</summary>
    public long WriteMicroseconds => writeTicks * 1_000_000 / Stopwatch.Frequency;

    /// <summary>Compressed bytes of each reducer's part; exact after <see cref="Finish"/>.</summary>
    public ReadOnlySpan<long> PartBytes => partBytes;

    /// <summary>Where the bytes of a reducer's next row go.</summary>
    public IBufferWriter<byte> GetPart(int reducer) => parts[reducer] ??= new Part(this);

    /// <summary>A row is complete. Only here may a frame end or a spill happen.</summary>
    public void RowWritten(int reducer)
    {
        Rows++;
        if (parts[reducer] is { Written: >= FrameTarget } part)
        {
            var started = Stopwatch.GetTimestamp();
            part.Seal();
            writeTicks += Stopwatch.GetTimestamp() - started;
        }
        if (memory > memoryLimit)
        {
            AppendSegment();
            SpilledBytes = data!.Length;
        }
    }

    /// <summary>Writes what is left and gives data and index their names, the index last: from then on the output exists.</summary>
    /// <exception cref="IOException">The disk is full or broken.</exception>
    public void Finish()
    {
        ObjectDisposedException.ThrowIf(finished, this);
        var started = Stopwatch.GetTimestamp();
        if (Array.Exists(parts, static part => part is { IsEmpty: false }))
        {
            AppendSegment();
        }
        data ??= Open();
        finishedBytes = data.Length;
        data.Commit();
        data.Dispose();
        data = null;
        using (var index = new FrameFile(directory.IndexPath(id)))
        {
            index.AppendEncoded(new ShuffleIndex(id, parts.Length, [.. offsets]).ToBytes());
            index.Commit();
        }
        Release();
        writeTicks += Stopwatch.GetTimestamp() - started;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Release();
        data?.Dispose();
        data = null;
        GC.SuppressFinalize(this);
    }

    private FrameFile Open()
    {
        directory.EnsureDirectory(directory.ShuffleDirectory(id.ShuffleId));
        return new FrameFile(directory.DataPath(id));
    }

    private void AppendSegment()
    {
        var started = Stopwatch.GetTimestamp();
        data ??= Open();
        for (var reducer = 0; reducer < parts.Length; reducer++)
        {
            var before = data.Length;
            offsets.Add(before);
            parts[reducer]?.AppendTo(data);
            partBytes[reducer] += data.Length - before;
        }
        offsets.Add(data.Length);
        writeTicks += Stopwatch.GetTimestamp() - started;
    }

    private void Release()
    {
        finished = true;
        foreach (var part in parts)
        {
            part?.Release();
        }
    }

    private sealed class Part(ShuffleFileWriter owner) : IBufferWriter<byte>
    {
        private byte[] buffer = [];
        private List<byte[]>? sealedFrames;

        public int Written { get; private set; }

        public bool IsEmpty => Written == 0 && sealedFrames is null;

        public void Advance(int count)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)(buffer.Length - Written));
            Written += count;
        }

        public Memory<byte> GetMemory(int sizeHint = 0)
        {
            Ensure(sizeHint);
            return buffer.AsMemory(Written);
        }

        public Span<byte> GetSpan(int sizeHint = 0)
        {
            Ensure(sizeHint);
            return buffer.AsSpan(Written);
        }

        // Full frames wait in memory, compressed.
        public void Seal()
        {
            var scratch = ArrayPool<byte>.Shared.Rent(BlockFrame.MaximumLength(Written));
            var length = BlockFrame.Encode(buffer.AsSpan(0, Written), scratch);
            (sealedFrames ??= []).Add(scratch.AsSpan(0, length).ToArray());
            ArrayPool<byte>.Shared.Return(scratch);
            owner.memory += length;
            Written = 0;
            if (buffer.Length > 2 * FrameTarget)
            {
                ReleaseBuffer();
            }
        }

        public void AppendTo(FrameFile file)
        {
            if (sealedFrames is not null)
            {
                foreach (var frame in sealedFrames)
                {
                    file.AppendEncoded(frame);
                    owner.memory -= frame.Length;
                }
                sealedFrames = null;
            }
            if (Written > 0)
            {
                file.AppendFrame(buffer.AsSpan(0, Written));
                Written = 0;
            }
            ReleaseBuffer();
        }

        public void Release()
        {
            sealedFrames = null;
            Written = 0;
            ReleaseBuffer();
        }

        private void Ensure(int sizeHint)
        {
            var needed = Math.Max(sizeHint, 1);
            if (buffer.Length - Written >= needed)
            {
                return;
            }
            ObjectDisposedException.ThrowIf(owner.finished, owner);
            var length = (int)Math.Min(Array.MaxLength, Math.Max(Math.Max(FirstBuffer, 2L * buffer.Length), (long)Written + needed));
            var larger = ArrayPool<byte>.Shared.Rent(length);
            buffer.AsSpan(0, Written).CopyTo(larger);
            owner.memory += larger.Length - buffer.Length;
            ReturnToPool(buffer);
            buffer = larger;
        }

        private void ReleaseBuffer()
        {
            owner.memory -= buffer.Length;
            ReturnToPool(buffer);
            buffer = [];
        }

        private static void ReturnToPool(byte[] array)
        {
            if (array.Length > 0)
            {
                ArrayPool<byte>.Shared.Return(array);
            }
        }
    }
}
