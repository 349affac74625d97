using System.Globalization;
using Yarnish.Blocks;

namespace Yarnish.Executor;

/// <summary>What an executor must know to get a broadcast: all that travels of it.</summary>
/// <param name="Number">Counts the session's broadcasts from 0.</param>
/// <param name="Length">Bytes of the serialized value.</param>
/// <param name="Hash">Their XxHash64, to know the whole from other wholes; damage within pieces is found by the checksums of their frames.</param>
/// <param name="CallSite">Where it was made, for people.</param>
internal readonly record struct BroadcastId(int Number, long Length, long Hash, string CallSite)
{
    /// <summary>Bytes of a piece, before compression; the last one may have fewer.</summary>
    public const int PieceBytes = 4 * 1024 * 1024;

    /// <summary>How many pieces it has; at least one.</summary>
    public int Pieces => (int)Math.Max(1, (Length + PieceBytes - 1) / PieceBytes);

    /// <summary>Bytes of one piece, before compression.</summary>
    public int LengthOf(int piece) => (int)Math.Min(PieceBytes, Length - (long)piece * PieceBytes);

    /// <summary>The block that holds a piece.</summary>
    public BlockId Piece(int piece) => new(string.Create(CultureInfo.InvariantCulture, $"{PrefixOf(Number)}{piece}"));

    /// <summary>The blocks of all its pieces.</summary>
    public BlockId[] Blocks()
    {
        var blocks = new BlockId[Pieces];
        for (var piece = 0; piece < blocks.Length; piece++)
        {
            blocks[piece] = Piece(piece);
        }
        return blocks;
    }

    /// <summary>What the names of its blocks begin with.</summary>
    public static string PrefixOf(int number) => string.Create(CultureInfo.InvariantCulture, $"broadcast-{number}-");

    /// <summary>Which broadcast, and which piece of it, a block is; null when it is no piece of a broadcast.</summary>
    public static (int Number, int Piece)? Parse(string block)
    {
        var parts = block.Split('-');
        return parts is ["broadcast", var number, var piece]
            && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var first)
            && int.TryParse(piece, NumberStyles.None, CultureInfo.InvariantCulture, out var second)
            ? (first, second)
            : null;
    }
}

/// <summary>The driver's end of a broadcast. Has a finalizer: when the program holds no reference any more, executors may forget it.</summary>
internal sealed class BroadcastLease(int number, string callSite, IBroadcastOrigin origin) : IAsyncDisposable
{
    private int disposed;

    ~BroadcastLease()
    {
        if (Interlocked.Exchange(ref disposed, 1) == 0)
        {
            origin.Release(number);
        }
    }

    /// <summary>Whether the program has ended it.</summary>
    public bool IsDisposed => Volatile.Read(ref disposed) != 0;

    /// <summary>Throws when it was disposed.</summary>
    public void RequireAlive()
    {
        if (IsDisposed)
        {
            throw new BroadcastException($"Broadcast {number} ({callSite}) was disposed. Dispose it after the last job that uses it.");
        }
    }

    /// <summary>Executors forget it.</summary>
    public void Unpersist()
    {
        RequireAlive();
        origin.Unpersist(number);
    }

    /// <summary>Everybody forgets it.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref disposed, 1) == 0)
        {
            GC.SuppressFinalize(this);
            await origin.EndAsync(number).ConfigureAwait(false);
        }
    }
}

/// <summary>Where broadcasts come from: the driver.</summary>
internal interface IBroadcastOrigin
{
    /// <summary>Lets executors forget a broadcast.</summary>
    void Unpersist(int number);

    /// <summary>Ends a broadcast.</summary>
    ValueTask EndAsync(int number);

    /// <summary>Ends a broadcast, soon: called by a finalizer.</summary>
    void Release(int number);
}
