using System.Runtime.CompilerServices;
using Yarnish.Lineage;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish;

/// <content>Actions on pairs, and rows of chosen keys.</content>
public static partial class RddPairs
{
    /// <summary>All values of one key, in the order of the collection. When the collection is partitioned by key only the one partition is computed that can hold it.</summary>
    /// <param name="source">The pairs.</param>
    /// <param name="key">The key; needs value equality.</param>
    /// <param name="cancellation">Cancels the job.</param>
    /// <param name="file">Filled in by the compiler.</param>
    /// <param name="line">Filled in by the compiler.</param>
    public static async Task<TValue[]> LookupAsync<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, TKey key, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(key);
        var callSite = SourceLocation.Of(file, line);
        StableHash.Require<TKey>(nameof(LookupAsync), callSite);
        int[]? partitions = source.Partitioner is KeyPartitioner<TKey> known ? [CustomPartitioner<TKey>.Watch(known).PartitionOf(key)] : null;
        var found = source.Derive(new ValuesOfKeyOperator<TKey, TValue>(Rows.OneToBytes(key)), nameof(LookupAsync), callSite);
        return Rdd<TValue>.Decode(await found.PartsAsync(new CollectAction<TValue>(), $"{nameof(LookupAsync)} at {callSite}", partitions, cancellation).ConfigureAwait(false));
    }

    /// <summary>All pairs as a dictionary in the driver.</summary>
    /// <exception cref="ArgumentException">A key occurs twice: reduce or group by key first.</exception>
    /// <exception cref="YarnishJobException">A task failed for good, or the rows exceed <c>Yarnish:MaximumResultBytes</c> (1 GiB).</exception>
    public static async Task<Dictionary<TKey, TValue>> ToDictionaryAsync<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        var callSite = SourceLocation.Of(file, line);
        StableHash.Require<TKey>(nameof(ToDictionaryAsync), callSite);
        var pairs = Rdd<KeyValuePair<TKey, TValue>>.Decode(
            await source.PartsAsync(new CollectAction<KeyValuePair<TKey, TValue>>(), $"{nameof(ToDictionaryAsync)} at {callSite}", null, cancellation).ConfigureAwait(false));
        var dictionary = new Dictionary<TKey, TValue>(pairs.Length, StableEquality<TKey>.Default);
        foreach (var (key, value) in pairs)
        {
            if (!dictionary.TryAdd(key, value))
            {
                throw new ArgumentException($"ToDictionaryAsync at {callSite}: key '{key}' occurs more than once. Reduce or group by key first, or use CollectAsync.", nameof(source));
            }
        }
        return dictionary;
    }

    /// <summary>How many pairs each key has, in the driver: for few different keys. For many, <c>Keys().CountBy(key => key)</c> leaves the counts on the executors.</summary>
    public static Task<Dictionary<TKey, long>> CountByKeyAsync<TKey, TValue>(
        this Rdd<KeyValuePair<TKey, TValue>> source, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.CountBy(static pair => pair.Key, null, file, line).ToDictionaryAsync(cancellation, file, line);
    }

    /// <summary>How often each row occurs, in the driver: for few different rows. For many, <c>CountBy(row => row)</c> leaves the counts on the executors.</summary>
    public static Task<Dictionary<T, long>> CountByValueAsync<T>(
        this Rdd<T> source, CancellationToken cancellation = default, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
        where T : notnull
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.CountBy(static row => row, null, file, line).ToDictionaryAsync(cancellation, file, line);
    }
}
