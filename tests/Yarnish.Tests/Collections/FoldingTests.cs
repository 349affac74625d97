using Xunit;
using Yarnish.Executor;
using Yarnish.Operators;
using Yarnish.Serialization;

namespace Yarnish.Tests.Collections;

/// <summary>Actions that bring one value to the driver against LINQ.</summary>
public sealed class FoldingTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    [Fact]
    public Task Fold_agrees_with_linq() => Agree(rows => rows.FoldAsync(0, static (left, right) => left + right), rows => rows.Aggregate(0, (left, right) => left + right));

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Tree_folds_agree_with_linq_at_any_depth_and_keep_the_order(int depth)
    {
        // Joining texts is associative but not commutative: a wrong order would show.
        var rows = Session.Range(0, 500, 60).Select(static row => $"{row},");

        Assert.Equal(string.Concat(Enumerable.Range(0, 500).Select(row => $"{row},")), await rows.TreeReduceAsync(static (left, right) => left + right, depth));
        Assert.Equal(
            Enumerable.Range(0, 500), await Session.Range(0, 500, 60).TreeAggregateAsync<List<int>>([], static (list, row) => [.. list, row], static (left, right) => [.. left, .. right], depth));
    }

    [Fact]
    public async Task A_tree_really_folds_in_tasks()
    {
        var before = Session.Progress.StagesCompleted;
        Assert.Equal(64, await Session.Range(0, 64, 64).Select(static _ => 1).TreeReduceAsync(static (left, right) => left + right));
        Assert.Equal(before + 2, Session.Progress.StagesCompleted);

        Assert.Equal(64, await Session.Range(0, 64, 64).Select(static _ => 1).TreeReduceAsync(static (left, right) => left + right, depth: 3));
        Assert.Equal(before + 5, Session.Progress.StagesCompleted);
    }

    [Fact]
    public Task Trees_with_few_rows_agree_with_linq() => EachAsync(async sample =>
    {
        var rows = Session.Parallelize(sample.Rows, sample.Partitions);

        Assert.Equal(sample.Rows.Sum(), await rows.TreeAggregateAsync(0, static (sum, row) => sum + row, static (left, right) => left + right));
        if (sample.Rows.Length == 0)
        {
            await Assert.ThrowsAsync<InvalidOperationException>(() => rows.TreeReduceAsync(static (left, right) => left + right));
        }
        else
        {
            Assert.Equal(sample.Rows.Sum(), await rows.TreeReduceAsync(static (left, right) => left + right));
        }
    });

    [Fact]
    public Task Contains_agrees_with_linq() => Agree(async rows => (await rows.ContainsAsync(5), await rows.ContainsAsync(99)), rows => (rows.Contains(5), rows.Contains(99)));

    [Fact]
    public async Task Contains_looks_for_equal_values()
    {
        Assert.True(await Session.Parallelize([new[] { 1, 2 }, [3]], 2).ContainsAsync([3]));
        Assert.True(await Session.Parallelize(["a", null], 2).ContainsAsync(null));
        await Assert.ThrowsAsync<KeyTypeException>(() => Session.Parallelize([new List<object>()]).ContainsAsync([]));
    }

    [Fact]
    public Task Extremes_by_key_agree_with_linq() => EachAsync(async sample =>
    {
        var rows = Session.Parallelize(sample.Rows, sample.Partitions);
        if (sample.Rows.Length == 0)
        {
            await Assert.ThrowsAsync<InvalidOperationException>(() => rows.MinByAsync(static row => row % 7));
            return;
        }
        Assert.Equal(sample.Rows.MinBy(row => row % 7), await rows.MinByAsync(static row => row % 7));
        Assert.Equal(sample.Rows.MaxBy(row => row % 7), await rows.MaxByAsync(static row => row % 7));
        Assert.Equal(sample.Rows.MaxBy(row => $"{row}", StringComparer.Ordinal), await rows.MaxByAsync(static row => $"{row}"));
    });

    [Fact]
    public Task Sums_and_averages_agree_with_linq() => EachAsync(async sample =>
    {
        var rows = Session.Parallelize(sample.Rows, sample.Partitions);

        Assert.Equal(sample.Rows.Sum(), await rows.SumAsync());
        Assert.Equal(sample.Rows.Sum(row => row / 4m), await rows.Select(static row => row / 4m).SumAsync());
        if (sample.Rows.Length == 0)
        {
            await Assert.ThrowsAsync<InvalidOperationException>(() => rows.AverageAsync());
            await Assert.ThrowsAsync<InvalidOperationException>(() => rows.Select(static row => (decimal)row).AverageAsync());
            return;
        }
        Assert.Equal(sample.Rows.Average(), await rows.AverageAsync());
        Assert.Equal(sample.Rows.Average(row => row / 4.0), await rows.Select(static row => row / 4.0).AverageAsync(), tolerance: 1e-12);
        Assert.Equal(sample.Rows.Average(row => row / 4m), await rows.Select(static row => row / 4m).AverageAsync());
    });

    [Fact]
    public async Task A_sum_that_does_not_fit_is_an_error()
    {
        await Assert.ThrowsAsync<OverflowException>(() => Session.Parallelize([int.MaxValue, 1], 2).SumAsync());
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Parallelize([int.MaxValue, 1], 1).SumAsync());
        Assert.Equal("System.OverflowException", error.RemoteError!.Type);
        Assert.Equal(1L + int.MaxValue, await Session.Parallelize([int.MaxValue, 1], 1).Select(static row => (long)row).SumAsync());
    }

    [Fact]
    public Task Statistics_agree_with_their_definitions() => EachAsync(async sample =>
    {
        var statistics = await Session.Parallelize(sample.Rows, sample.Partitions).StatisticsAsync();

        Assert.Equal(sample.Rows.Length, statistics.Count);
        if (sample.Rows.Length > 0)
        {
            var mean = sample.Rows.Average();
            Assert.Equal(mean, statistics.Mean, tolerance: 1e-9);
            Assert.Equal(sample.Rows.Average(row => (row - mean) * (row - mean)), statistics.Variance, tolerance: 1e-9);
            Assert.Equal((sample.Rows.Min(), sample.Rows.Max(), sample.Rows.Sum()), (statistics.Minimum, statistics.Maximum, Math.Round(statistics.Sum)));
        }
    });

    [Fact]
    public Task A_histogram_agrees_with_linq() => Agree(
        rows => rows.HistogramAsync([-10, 0, 5, 20]),
        rows => new[] { rows.LongCount(row => row is >= -10 and < 0), rows.LongCount(row => row is >= 0 and < 5), rows.LongCount(row => row is >= 5 and <= 20) });

    [Fact]
    public async Task A_histogram_leaves_out_what_is_no_number_and_refuses_bounds_out_of_order()
    {
        Assert.Equal((long[])[1L, 2], await Session.Parallelize([0.5, double.NaN, 1, 2, 2.5], 2).HistogramAsync([0.0, 1, 2]));
        await Assert.ThrowsAsync<ArgumentException>(() => Session.Parallelize([1]).HistogramAsync([3, 2]));
    }

    [Theory]
    [InlineData(0.2)]
    [InlineData(0.05)]
    [InlineData(0.01)]
    public async Task Distinct_rows_are_counted_within_the_error(double relativeError)
    {
        foreach (var distinct in new[] { 0, 1, 10, 1_000, 30_000 })
        {
            var count = await Session.Range(0, 2 * distinct, 5).Select(row => row % Math.Max(distinct, 1)).CountApproxDistinctAsync(relativeError);

            // Four standard errors: the hash is fixed, so this is no matter of luck.
            Assert.InRange(count, distinct * (1 - (4 * relativeError)), distinct * (1 + (4 * relativeError)));
        }
    }

    [Fact]
    public async Task Distinct_values_of_keys_are_counted_within_the_error()
    {
        var counts = await Session.Range(0, 40_000, 4).Select(static row => KeyValuePair.Create(row % 4, row / 4 % (row % 4 == 0 ? 3 : 2_500 * (row % 4)))).CountApproxDistinctByKey().ToDictionaryAsync();

        Assert.Equal(3, counts[0]);
        for (var key = 1; key < 4; key++)
        {
            Assert.InRange(counts[key], 2_500 * key * 0.85, 2_500 * key * 1.15);
        }
    }

    [Theory]
    [InlineData(4)]
    [InlineData(9)]
    [InlineData(14)]
    public void Sketches_merge_to_the_sketch_of_all_and_their_errors_are_as_promised(int precision)
    {
        var squares = 0.0;
        const int Rounds = 40;
        foreach (var distinct in new[] { 5, 50, 500, 5_000 })
        {
            for (var round = 0; round < Rounds; round++)
            {
                var (all, left, right) = (HyperLogLog.Empty(precision), HyperLogLog.Empty(precision), HyperLogLog.Empty(precision));
                for (var i = 0; i < distinct; i++)
                {
                    var hash = StableHash.Of(((long)round * 1_000_003) + i);
                    all = HyperLogLog.Add(all, hash);
                    (left, right) = i % 3 == 0 ? (HyperLogLog.Add(left, hash), right) : (left, HyperLogLog.Add(right, hash));
                }
                var estimate = HyperLogLog.Estimate(all);
                Assert.Equal(estimate, HyperLogLog.Estimate(HyperLogLog.Merge(left, right)));
                Assert.Equal(estimate, HyperLogLog.Estimate(HyperLogLog.Add(all, StableHash.Of((long)round * 1_000_003))));
                squares += Math.Pow(((double)estimate / distinct) - 1, 2) / (4 * Rounds);
            }
        }
        Assert.InRange(Math.Sqrt(squares), 0, 1.3 * 1.04 / Math.Sqrt(1 << precision));
    }

    [Fact]
    public async Task An_error_that_no_sketch_keeps_is_refused()
    {
        var error = await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => Session.Range(0, 3).CountApproxDistinctAsync(0.0001));
        Assert.Contains("between 0.0021 and 0.4", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => Session.Range(0, 3).KeyBy(static row => row).CountApproxDistinctByKey(double.NaN));
    }

    [Fact]
    public Task An_approximate_count_with_time_enough_is_exact() => Agree(
        async rows => (await rows.CountApproxAsync(TimeSpan.FromMinutes(5))) with { CountedPartitions = 0 }, rows => new ApproximateCount(rows.Count(), rows.Count(), rows.Count(), 0, IsExact: true));

    [Fact]
    public async Task An_approximate_count_says_what_it_knows_when_its_time_is_over()
    {
        // Partitions of 10 rows; the last two only end when they are told to.
        var rows = Session.Range(0, 60, 6).MapPartitions(static (partition, rows) =>
        {
            if (partition >= 4)
            {
                TaskContext.Current!.Cancellation.WaitHandle.WaitOne();
                TaskContext.Current.Cancellation.ThrowIfCancellationRequested();
            }
            return rows;
        });

        var count = await rows.CountApproxAsync(TimeSpan.FromSeconds(2));

        Assert.False(count.IsExact);
        Assert.InRange(count.CountedPartitions, 0, 4);
        Assert.True(count.Low <= 60 && count.High >= 60, $"{count}");
        Assert.Equal(count.CountedPartitions == 0 ? 0 : 60, count.Estimate);
        Assert.Equal(60, await Session.Range(0, 60, 6).CountAsync());
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => rows.CountApproxAsync(TimeSpan.Zero));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => rows.CountApproxAsync(TimeSpan.FromSeconds(1), confidence: 1));
    }

    [Theory]
    [InlineData(0.8, 5)]
    [InlineData(0.95, 3)]
    [InlineData(0.95, 30)]
    public void The_bounds_of_an_approximate_count_hold_as_often_as_promised(double confidence, int counted)
    {
        const int Rounds = 2_000;
        var random = new Random(1);
        var held = 0;
        for (var round = 0; round < Rounds; round++)
        {
            var sizes = Enumerable.Range(0, 60).Select(_ => (long)(1_000 + (100 * (random.NextDouble() + random.NextDouble() + random.NextDouble() + random.NextDouble())))).ToArray();
            var count = ApproximateCount.From(sizes[..counted], sizes.Length, confidence);
            held += count.Low <= sizes.Sum() && sizes.Sum() <= count.High ? 1 : 0;
        }

        Assert.InRange((double)held / Rounds, confidence - 0.03, Math.Min(1, confidence + 0.03));
    }

    [Fact]
    public async Task Every_action_takes_a_token_and_hears_of_a_cancellation()
    {
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        var rows = Session.Range(0, 10, 3);
        var token = cancelled.Token;

        foreach (var action in new Func<Task>[]
        {
            () => rows.CollectAsync(token), () => rows.CountAsync(token), () => rows.TakeAsync(3, token), () => rows.FirstAsync(token), () => rows.AnyAsync(token), () => rows.ReduceAsync(static (one, _) => one, token),
            () => rows.FoldAsync(0, static (one, _) => one, token), () => rows.TreeReduceAsync(static (one, _) => one, cancellation: token), () => rows.SumAsync(token), () => rows.AverageAsync(token),
            () => rows.ContainsAsync(3, token), () => rows.MinByAsync(static row => row, cancellation: token), () => rows.TakeSampleAsync(3, cancellation: token), () => rows.CountByValueAsync(token),
            () => rows.CountApproxDistinctAsync(cancellation: token), () => rows.ForEachAsync(static _ => { }, token), () => rows.KeyBy(static row => row).LookupAsync(3, token),
            () => rows.KeyBy(static row => row).ToDictionaryAsync(token), () => rows.KeyBy(static row => row).RangePartitionerAsync(3, cancellation: token), () => rows.Index().CollectAsync(token),
            async () => await rows.ToAsyncEnumerable(token).CountAsync(CancellationToken.None),
        })
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(action);
        }
        // A cancelled try does not spoil what is prepared once.
        Assert.Equal(10, await rows.CountAsync(CancellationToken.None));
    }

    [Fact]
    public async Task A_preparation_that_was_cancelled_is_done_again_by_the_next_job()
    {
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        var indexed = Session.Range(0, 10, 3).Index();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => indexed.CollectAsync(cancelled.Token));

        Assert.Equal(Enumerable.Range(0, 10).Select(row => ((long)row, row)), await indexed.CollectAsync());
    }
}
