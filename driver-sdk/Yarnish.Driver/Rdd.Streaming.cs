using System.Runtime.CompilerServices;
using Yarnish.Jobs;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

/// <content>Results of any size.</content>
public partial class Rdd<T>
{
    /// <summary>How often a partition whose pieces were lost is computed again.</summary>
    private const int MaximumLosses = 3;

    /// <summary>
    /// Streams all rows in the order of the partitions, whatever their number and size: one partition is computed while the one before is read, and of a large one pieces of some 2 MiB wait on the disk of
    /// its node until they are fetched, one ahead of the reader. The driver holds a few of them; a slow reader slows the jobs down instead of filling its memory.
    /// </summary>
    /// <remarks>Each partition is a job of its own: persist what is costly to compute.</remarks>
    /// <exception cref="YarnishJobException">
    /// A task failed for good; or a node was lost with pieces that were not yet read, and the rows have no fixed order, so that they could not be computed again from where the reader was.
    /// </exception>
    public async IAsyncEnumerable<T> ToAsyncEnumerable(
        [EnumeratorCancellation] CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        var name = Name(file, line);
        var format = RowFormats.For<T>();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var next = Partitions > 0 ? StreamPartAsync(0, name, stop.Token) : null;
        StreamedPart? part = null;
        Task<(ReadOnlyMemory<byte> Rows, Exception? Loss)>? coming = null;
        try
        {
            for (var partition = 0; partition < Partitions; partition++)
            {
                part = await next!.ConfigureAwait(false);
                next = partition + 1 < Partitions ? StreamPartAsync(partition + 1, name, stop.Token) : null;
                var (given, seen, losses) = (0L, 0L, 0);
                coming = PieceAsync(part, 0, stop.Token);
                for (var piece = 0; piece <= part.Pieces; piece++)
                {
                    var (rows, loss) = await coming.ConfigureAwait(false);
                    if (loss is not null)
                    {
                        RequireRepeatable(loss, name, partition, ++losses);
                        Forget(part);
                        part = await StreamPartAsync(partition, name, stop.Token).ConfigureAwait(false);
                        coming = PieceAsync(part, 0, stop.Token);
                        (seen, piece) = (0, -1);
                        continue;
                    }
                    coming = PieceAsync(part, piece + 1, stop.Token);
                    foreach (var row in format.Read(rows))
                    {
                        // Of a partition that was computed again the reader has the first rows already.
                        if (seen++ < given)
                        {
                            continue;
                        }
                        given++;
                        yield return row;
                    }
                }
                Forget(part);
                part = null;
            }
        }
        finally
        {
            // A reader that leaves early wants no more of it.
            await stop.CancelAsync().ConfigureAwait(false);
            await (coming ?? Task.CompletedTask).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            Forget(part);
            if (next is not null)
            {
                await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                Forget(next.IsCompletedSuccessfully ? next.Result : null);
            }
        }
    }

    private async Task<StreamedPart> StreamPartAsync(int partition, string name, CancellationToken cancellation)
    {
        var collection = Runner.NextCollection();
        try
        {
            return StreamedPart.Read(collection, (await PartsAsync(new StreamAction<T>(collection), name, [partition], cancellation).ConfigureAwait(false))[0]);
        }
        catch
        {
            Runner.Unpersist(collection);
            throw;
        }
    }

    /// <summary>The rows of one piece, of what is behind the last, or none; or why they cannot be had.</summary>
    private async Task<(ReadOnlyMemory<byte> Rows, Exception? Loss)> PieceAsync(StreamedPart part, int piece, CancellationToken cancellation)
    {
        if (piece >= part.Pieces)
        {
            return (piece == part.Pieces ? part.Rest : default, null);
        }
        try
        {
            var content = await Runner.ReadBlockAsync(part.ExecutorId, part.BlockOf(piece), cancellation).ConfigureAwait(false);
            return (Rows.FromBytes<byte[]>(content), null);
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            return (default, error);
        }
    }

    private void RequireRepeatable(Exception loss, string name, int partition, int losses)
    {
        if (Node.Unordered || losses > MaximumLosses)
        {
            throw new YarnishJobException(
                FailureText.OfJob(
                    name, $"a piece of partition {partition} is lost: {loss.Message}{(Node.Unordered ? " The rows have no fixed order: computed again, they would not go on where the reader is." : "")}",
                    Node.Unordered ? "sort or persist the collection before it is streamed, or run the program again" : "look why nodes go or disks fail"),
                loss) { Partition = partition };
        }
    }

    private void Forget(StreamedPart? part)
    {
        if (part is { Pieces: > 0 })
        {
            Runner.Unpersist(part.Collection);
        }
    }
}
