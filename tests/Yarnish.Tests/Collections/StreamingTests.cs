using System.Diagnostics;
using Xunit;
using Yarnish.Embedded;
using Yarnish.Jobs;

namespace Yarnish.Tests.Collections;

/// <summary>Streams of partitions that are too large to come back at once: in pieces, in order, and nothing of them stays.</summary>
public sealed class StreamingTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    private const int RowBytes = 1 << 20;

    private string Pieces => Path.Combine(((EmbeddedFleet)((JobRunner)Session.Runner).Fleet).BlockDirectory, "named");

    /// <summary>A first partition of 14 MiB, then small ones.</summary>
    private Rdd<byte[]> Large() => Session.Range(0, 42, 3).Select(static row => row < 14 ? Row(row, RowBytes) : Row(row, 10));

    [Fact]
    public async Task A_large_partition_comes_in_pieces_and_in_order()
    {
        var next = 0;
        var inPieces = false;
        await foreach (var row in Large().ToAsyncEnumerable(TestContext.Current.CancellationToken))
        {
            Assert.Equal(Row(next, next < 14 ? RowBytes : 10), row);
            inPieces |= next++ == 0 && Directory.EnumerateFiles(Pieces, "rdd-*").Any();
        }

        Assert.Equal(42, next);
        Assert.True(inPieces);
        await NoPiecesAsync();
    }

    [Fact]
    public async Task A_reader_that_leaves_early_leaves_no_pieces()
    {
        await foreach (var row in Large().ToAsyncEnumerable(TestContext.Current.CancellationToken))
        {
            if (row[0] == 5)
            {
                break;
            }
        }

        await NoPiecesAsync();
    }

    [Fact]
    public async Task Pieces_that_are_lost_are_computed_again_from_where_the_reader_is()
    {
        var next = 0;
        await foreach (var row in Large().ToAsyncEnumerable(TestContext.Current.CancellationToken))
        {
            Assert.Equal(next, row[0]);
            if (next++ == 2)
            {
                LosePieces();
            }
        }

        Assert.Equal(42, next);
        await NoPiecesAsync();
    }

    [Fact]
    public async Task Lost_pieces_of_rows_without_an_order_are_an_error_and_no_wrong_rows()
    {
        var rows = Large().KeyBy(static row => (int)row[0]).ReduceByKey(static (left, _) => left, partitions: 1).Values();
        Assert.True(rows.Node.Unordered);

        var error = await Assert.ThrowsAsync<YarnishJobException>(async () =>
        {
            var next = 0;
            await foreach (var row in rows.ToAsyncEnumerable(TestContext.Current.CancellationToken))
            {
                if (next++ == 2)
                {
                    LosePieces();
                }
            }
        });

        Assert.Contains("a piece of partition 0 is lost", error.Message, StringComparison.Ordinal);
        Assert.Contains("sort or persist", error.Message, StringComparison.Ordinal);
        await NoPiecesAsync();
    }

    [Fact]
    public async Task A_persisted_collection_streams_too()
    {
        var rows = Large().Persist();
        try
        {
            Assert.Equal(42, await rows.ToAsyncEnumerable(TestContext.Current.CancellationToken).CountAsync(TestContext.Current.CancellationToken));
            Assert.Equal(42, await rows.ToAsyncEnumerable(TestContext.Current.CancellationToken).CountAsync(TestContext.Current.CancellationToken));
        }
        finally
        {
            rows.Unpersist();
        }
        await NoPiecesAsync();
    }

    private static byte[] Row(int number, int length)
    {
        var row = new byte[length];
        new Random(number).NextBytes(row);
        row[0] = (byte)number;
        return row;
    }

    private void LosePieces()
    {
        foreach (var piece in Directory.GetFiles(Pieces, "rdd-*"))
        {
            File.Delete(piece);
        }
    }

    /// <summary>They are dropped by a message, which takes a moment.</summary>
    private async Task NoPiecesAsync()
    {
        var waited = Stopwatch.StartNew();
        while (Directory.Exists(Pieces) && Directory.EnumerateFiles(Pieces, "rdd-*").Any())
        {
            Assert.True(waited.Elapsed < TimeSpan.FromSeconds(20), $"left behind: {string.Join(", ", Directory.GetFiles(Pieces, "rdd-*").Select(Path.GetFileName))}");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }
}
