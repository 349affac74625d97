using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>
/// Where shuffles are, asked from the registry once per executor, shuffle and epoch, however many reducers run here. What the registry lacks (Redis was flushed,
/// or is down) is asked of the driver, which publishes it again.
/// </summary>
internal sealed class LocationCache(
    IBlockRegistry registry, Func<ShuffleId, int, ValueTask> askDriver, TimeSpan timeout, TimeProvider time, ILogger logger)
{
    private const int Capacity = 256;

    private readonly ConcurrentDictionary<(ShuffleId Shuffle, int Epoch), Lazy<Task<ShuffleLocations>>> known = new();
    private readonly ConcurrentDictionary<ShuffleId, TaskCompletionSource<int>> published = new();

    /// <summary>The locations; waits at most the timeout. Throws <see cref="ShuffleLocationsException"/> when they cannot be had.</summary>
    public ShuffleLocations Get(ShuffleId shuffle, int epoch, CancellationToken cancellation)
    {
        if (known.Count > Capacity)
        {
            // Rare: a long session with many shuffles. They are read again when needed.
            known.Clear();
        }
        var lazy = known.GetOrAdd((shuffle, epoch), key => new Lazy<Task<ShuffleLocations>>(() => Task.Run(() => FindAsync(key.Shuffle, key.Epoch))));
        try
        {
            return lazy.Value.WaitAsync(cancellation).GetAwaiter().GetResult();
        }
        catch (Exception) when (lazy.Value.IsFaulted)
        {
            known.TryRemove(KeyValuePair.Create((shuffle, epoch), lazy));
            throw;
        }
    }

    /// <summary>The driver says that it published.</summary>
    public void OnPublished(ShuffleId shuffle, int epoch)
    {
        if (published.TryRemove(shuffle, out var waiting))
        {
            waiting.TrySetResult(epoch);
        }
    }

    /// <summary>Forgets a shuffle.</summary>
    public void Drop(ShuffleId shuffle)
    {
        foreach (var key in known.Keys)
        {
            if (key.Shuffle == shuffle)
            {
                known.TryRemove(key, out _);
            }
        }
    }

    private async Task<ShuffleLocations> FindAsync(ShuffleId shuffle, int epoch)
    {
        var started = time.GetTimestamp();
        var problem = "the registry does not have them";
        var asked = false;
        while (true)
        {
            // Waiting is armed before looking, so that no answer is missed.
            var answer = published.GetOrAdd(shuffle, static _ => new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
            try
            {
                if (await registry.FindLocationsAsync(shuffle, epoch).ConfigureAwait(false) is { } found)
                {
                    return found;
                }
            }
            catch (Exception error) when (error is BlockRegistryException or BlockCorruptException)
            {
                problem = error.Message;
            }
            var left = timeout - time.GetElapsedTime(started);
            if (left <= TimeSpan.Zero)
            {
                throw new ShuffleLocationsException(
                    $"The locations of shuffle {shuffle} at epoch {epoch} could not be had within {timeout.TotalSeconds:0} s: {problem}, and the driver did not publish them.");
            }
            if (!asked)
            {
                logger.LogInformation("Locations of shuffle {Shuffle} epoch {Epoch}: {Problem}; asking the driver", shuffle, epoch, problem);
                asked = true;
            }
            await askDriver(shuffle, epoch).ConfigureAwait(false);
            try
            {
                // Asked again every 3 s: question or answer may be lost with a connection.
                epoch = Math.Max(epoch, await answer.WaitAsync(left < Again ? left : Again, time).ConfigureAwait(false));
            }
            catch (TimeoutException)
            {
            }
        }
    }

    private static readonly TimeSpan Again = TimeSpan.FromSeconds(3);
}
