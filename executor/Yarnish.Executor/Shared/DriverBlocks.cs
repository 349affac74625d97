using System.Collections.Concurrent;
using Yarnish.Blocks;

namespace Yarnish.Executor;

/// <summary>Asks the driver to put named blocks onto this node that nobody else has, and waits for its answers. Thread-safe.</summary>
/// <param name="ask">Sends the question; lost ones are repeated.</param>
/// <param name="timeout">How long an answer may take.</param>
/// <param name="time">Clock.</param>
internal sealed class DriverBlocks(Func<BlockId, ValueTask> ask, TimeSpan timeout, TimeProvider time)
{
    private static readonly TimeSpan Again = TimeSpan.FromSeconds(3);

    private readonly ConcurrentDictionary<string, TaskCompletionSource<string>> waiting = new(StringComparer.Ordinal);

    /// <summary>Completes when the driver says that the block is there.</summary>
    /// <exception cref="BroadcastException">It says that it is not, or says nothing.</exception>
    public async Task AskAsync(BlockId block, CancellationToken cancellation)
    {
        var answer = waiting.GetOrAdd(block.Value, static _ => new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
        var started = time.GetTimestamp();
        while (true)
        {
            var left = timeout - time.GetElapsedTime(started);
            if (left <= TimeSpan.Zero)
            {
                throw new BroadcastException($"Block {block} could not be had: nobody holds it, and the driver did not give it within {timeout.TotalSeconds:0} s.");
            }
            await ask(block).ConfigureAwait(false);
            try
            {
                var problem = await answer.WaitAsync(left < Again ? left : Again, time, cancellation).ConfigureAwait(false);
                if (problem.Length > 0)
                {
                    throw new BroadcastException(problem);
                }
                return;
            }
            catch (TimeoutException)
            {
            }
        }
    }

    /// <summary>The driver's answer.</summary>
    public void OnGiven(string block, string problem)
    {
        if (waiting.TryRemove(block, out var answer))
        {
            answer.TrySetResult(problem);
        }
    }
}
