using CsCheck;
using Xunit;
using Yarnish.Executor;
using Yarnish.Serialization;

namespace Yarnish.Tests.Collections;

/// <summary>Each operator gives what LINQ to Objects gives on the same rows, however they are cut into partitions.</summary>
public sealed class CollectionTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    [Fact]
    public Task Collect_keeps_the_order_of_the_rows() => Agree(rows => rows.CollectAsync(), rows => rows.ToArray());

    [Fact]
    public Task Select_where_and_select_many_agree_with_linq() => Agree(
        rows => rows.Select(static row => row * 3L).Where(static row => row % 2 == 0).SelectMany(static row => new[] { row, -row }).CollectAsync(),
        rows => rows.Select(row => row * 3L).Where(row => row % 2 == 0).SelectMany(row => new[] { row, -row }).ToArray());

    [Fact]
    public Task Query_syntax_agrees_with_linq() => Agree(
        rows => (from row in rows where row > 0 from twice in new[] { row, row * 2 } select $"{row}:{twice}").CollectAsync(),
        rows => (from row in rows where row > 0 from twice in new[] { row, row * 2 } select $"{row}:{twice}").ToArray());

    [Fact]
    public async Task Query_syntax_groups_and_joins()
    {
        var left = Session.Parallelize([("a", 1), ("b", 2), ("a", 3)], 2);
        var right = Session.Parallelize([("a", "x"), ("c", "y")], 2);

        var joined = await (from one in left join two in right on one.Item1 equals two.Item1 select $"{one.Item2}{two.Item2}").CollectAsync();

        Assert.Equal(["1x", "3x"], joined.Order());
    }

    [Fact]
    public Task Count_agrees_with_linq() => Agree(rows => rows.CountAsync(), rows => rows.LongCount());

    [Fact]
    public Task Take_agrees_with_linq() => Agree(rows => rows.TakeAsync(5), rows => rows.Take(5).ToArray());

    [Fact]
    public Task Any_agrees_with_linq() => Agree(rows => rows.AnyAsync(), rows => rows.Any());

    [Fact]
    public Task Aggregate_agrees_with_linq() => Agree(
        rows => rows.AggregateAsync(0L, static (sum, row) => sum + row, static (left, right) => left + right), rows => rows.Aggregate(0L, (sum, row) => sum + row));

    [Fact]
    public Task Reduce_agrees_with_linq_and_refuses_nothing_to_reduce() => EachAsync(
        async sample =>
        {
            var rows = Session.Parallelize(sample.Rows, sample.Partitions);
            if (sample.Rows.Length == 0)
            {
                await Assert.ThrowsAsync<InvalidOperationException>(() => rows.ReduceAsync(static (left, right) => left + right));
            }
            else
            {
                Assert.Equal(sample.Rows.Sum(), await rows.ReduceAsync(static (left, right) => left + right));
            }
        });

    [Fact]
    public Task Count_by_agrees_with_linq() => AgreeInAnyOrder(
        rows => rows.CountBy(static row => row % 7), rows => rows.CountBy(row => row % 7).Select(pair => new KeyValuePair<int, long>(pair.Key, pair.Value)));

    [Fact]
    public Task Reduce_by_key_agrees_with_linq() => AgreeInAnyOrder(
        rows => rows.KeyBy(static row => row % 5).ReduceByKey(static (left, right) => left + right),
        rows => rows.GroupBy(row => row % 5).Select(group => new KeyValuePair<int, int>(group.Key, group.Sum())));

    [Fact]
    public Task Aggregate_by_key_agrees_with_linq() => AgreeInAnyOrder(
        rows => rows.KeyBy(static row => row % 5).AggregateByKey("", static (text, row) => text + "x", static (left, right) => left + right),
        rows => rows.GroupBy(row => row % 5).Select(group => new KeyValuePair<int, string>(group.Key, new string('x', group.Count()))));

    [Fact]
    public Task Group_by_keeps_the_order_of_the_input_within_a_group() => AgreeInAnyOrder(
        rows => rows.GroupBy(static row => Math.Abs(row % 4)).Select(static group => $"{group.Key}: {string.Join(",", group.Value)}"),
        rows => rows.GroupBy(row => Math.Abs(row % 4)).Select(group => $"{group.Key}: {string.Join(",", group)}"));

    [Fact]
    public async Task Parts_of_many_blocks_keep_the_order_of_the_input()
    {
        const int Rows = 400_000;
        var groups = await Session.Range(0, Rows, 3).Select(static row => new KeyValuePair<int, string>(row % 3, $"value {row} of many")).GroupByKey(partitions: 2).CollectAsync();

        Assert.Equal(3, groups.Length);
        Assert.All(groups, group => Assert.Equal(Enumerable.Range(0, Rows).Where(row => row % 3 == group.Key).Select(row => $"value {row} of many"), group.Value));
    }

    [Fact]
    public Task Distinct_agrees_with_linq() => AgreeInAnyOrder(rows => rows.Distinct(), rows => rows.Distinct());

    [Fact]
    public async Task Distinct_knows_null()
    {
        var rows = await Session.Parallelize(["a", null, "a", null], 3).Distinct().CollectAsync();

        Assert.Equal([null, "a"], rows.Order());
    }

    [Fact]
    public Task Union_agrees_with_concat() => Agree(
        rows => rows.Union(rows.Select(static row => row + 100)).Union(rows).CollectAsync(),
        rows => rows.Concat(rows.Select(row => row + 100)).Concat(rows).ToArray());

    [Fact]
    public Task Join_agrees_with_linq() => AgreeInAnyOrder(
        rows => rows.Join(rows.Where(static row => row > 0), static left => left % 6, static right => right % 6, static (left, right) => $"{left}-{right}"),
        rows => rows.Join(rows.Where(row => row > 0), left => left % 6, right => right % 6, (left, right) => $"{left}-{right}"));

    [Fact]
    public async Task A_join_of_sides_that_are_partitioned_alike_shuffles_nothing_again()
    {
        var left = Session.Range(0, 100, 3).KeyBy(static row => row % 10).ReduceByKey(static (one, two) => one + two, partitions: 4);
        var right = left.SelectValues(static sum => sum * 2);

        var joined = left.Join(right);

        Assert.Empty(joined.Node.Shuffles);
        Assert.All(await joined.CollectAsync(), pair => Assert.Equal(pair.Value.Left * 2, pair.Value.Right));
    }

    [Fact]
    public Task Co_group_gives_both_sides_of_every_key() => AgreeInAnyOrder(
        rows => rows.KeyBy(static row => row % 4).CoGroup(rows.Where(static row => row > 0).KeyBy(static row => row % 3))
            .Select(static pair => $"{pair.Key}: {string.Join(",", pair.Value.Left)} | {string.Join(",", pair.Value.Right)}"),
        rows =>
        {
            var left = rows.ToLookup(row => row % 4);
            var right = rows.Where(row => row > 0).ToLookup(row => row % 3);
            return left.Select(group => group.Key).Union(right.Select(group => group.Key)).Select(key => $"{key}: {string.Join(",", left[key])} | {string.Join(",", right[key])}");
        });

    [Fact]
    public Task Outer_joins_agree_with_linq() => AgreeInAnyOrder(
        rows => Shown(rows.KeyBy(static row => row % 4).LeftJoin(Halves(rows)), "left")
            .Union(Shown(rows.KeyBy(static row => row % 4).RightJoin(Halves(rows)).SelectValues(static pair => (pair.Left, (string?)pair.Right)), "right"))
            .Union(Shown(rows.KeyBy(static row => row % 4).FullJoin(Halves(rows)), "full")),
        rows =>
        {
            var left = rows.ToLookup(row => row % 4);
            var right = rows.Where(row => row > 0).ToLookup(row => row % 3, row => $"{row}");
            IEnumerable<string> Pairs(IEnumerable<int> keys, string kind) =>
                from key in keys
                from one in left[key].DefaultIfEmpty()
                from two in right[key].DefaultIfEmpty()
                select $"{kind} {key}: {one} {two ?? "none"}";
            var (lefts, rights) = (left.Select(group => group.Key).ToArray(), right.Select(group => group.Key).ToArray());
            return Pairs(lefts, "left").Concat(Pairs(rights, "right")).Concat(Pairs(lefts.Union(rights), "full"));
        });

    private static Rdd<KeyValuePair<int, string>> Halves(Rdd<int> rows) => rows.Where(static row => row > 0).Select(static row => new KeyValuePair<int, string>(row % 3, $"{row}"));

    private static Rdd<string> Shown<TRight>(Rdd<KeyValuePair<int, (int Left, TRight? Right)>> joined, string kind) =>
        joined.Select(pair => $"{kind} {pair.Key}: {pair.Value.Left} {pair.Value.Right?.ToString() ?? "none"}");

    [Fact]
    public Task Intersect_and_except_agree_with_linq() => AgreeInAnyOrder(
        rows => rows.Intersect(rows.Select(static row => row + 3)).Union(rows.Except(rows.Select(static row => row + 3)).Select(static row => row + 1_000)),
        rows => rows.Intersect(rows.Select(row => row + 3)).Concat(rows.Except(rows.Select(row => row + 3)).Select(row => row + 1_000)));

    [Fact]
    public async Task Chunks_stay_within_their_partition()
    {
        var chunks = await Session.Range(0, 10, 2).Chunk(3).CollectAsync();

        Assert.Equal([3, 2, 3, 2], chunks.Select(chunk => chunk.Length));
        Assert.Equal(Enumerable.Range(0, 10), chunks.SelectMany(chunk => chunk));
    }

    [Fact]
    public async Task Minimum_and_maximum_agree_with_linq()
    {
        var words = Session.Parallelize(["pear", "Apple", "fig"], 2);

        Assert.Equal("Apple", await words.MinAsync());
        Assert.Equal("pear", await words.MaxAsync());
        await Assert.ThrowsAsync<InvalidOperationException>(() => Session.Parallelize(Array.Empty<int>()).MinAsync());
    }

    [Fact]
    public Task A_stream_gives_all_rows_in_order() => Agree(
        async rows =>
        {
            var streamed = new List<int>();
            await foreach (var row in rows.ToAsyncEnumerable())
            {
                streamed.Add(row);
            }
            return streamed.ToArray();
        },
        rows => rows.ToArray());

    [Fact]
    public async Task A_reader_that_leaves_a_stream_early_leaves_nothing_running()
    {
        await foreach (var row in Session.Range(0, 1_000, 10).ToAsyncEnumerable())
        {
            if (row == 5)
            {
                break;
            }
        }

        Assert.Equal(0, Session.Progress.JobsRunning);
    }

    [Fact]
    public Task Order_by_is_stable_over_all_partitions() => Agree(
        rows => rows.Select(static row => (Key: row % 5, Row: row)).OrderBy(static row => row.Key).CollectAsync(),
        rows => rows.Select(row => (Key: row % 5, Row: row)).OrderBy(row => row.Key).ToArray());

    [Fact]
    public Task Order_by_descending_then_by_agrees_with_linq() => Agree(
        rows => rows.OrderByDescending(static row => row % 3).ThenBy(static row => row).CollectAsync(),
        rows => rows.OrderByDescending(row => row % 3).ThenBy(row => row).ToArray());

    [Fact]
    public Task Taking_from_an_ordered_collection_agrees_with_linq() => Agree(
        rows => rows.OrderBy(static row => row % 4).TakeAsync(6), rows => rows.OrderBy(row => row % 4).Take(6).ToArray());

    [Fact]
    public Task Repartition_keeps_all_rows() => AgreeInAnyOrder(rows => rows.Repartition(4), rows => rows);

    [Fact]
    public async Task Repartition_deals_rows_out_evenly()
    {
        var sizes = await Session.Range(0, 1_000, 3).Repartition(5).MapPartitions(static rows => new[] { rows.Count() }).CollectAsync();

        Assert.All(sizes, size => Assert.InRange(size, 198, 202));
    }

    [Fact]
    public Task Coalesce_keeps_rows_and_order() => Agree(rows => rows.Coalesce(2).CollectAsync(), rows => rows.ToArray());

    [Fact]
    public Task Zip_agrees_with_linq() => Agree(
        rows => rows.Zip(rows.Select(static row => row + 1), static (left, right) => (left, right)).CollectAsync(), rows => rows.Zip(rows.Select(row => row + 1)).ToArray());

    [Fact]
    public async Task Range_counts_by_itself()
    {
        Assert.Equal(Enumerable.Range(-5, 1_000), await Session.Range(-5, 1_000, 7).CollectAsync());
        Assert.Equal(5_000_000_000L + 9, (await Session.Range(5_000_000_000L, 10, 3).CollectAsync()).Max());
    }

    [Fact]
    public async Task Map_partitions_sees_each_partition_once_with_its_index()
    {
        var seen = await Session.Range(0, 10, 4).MapPartitions(static (index, rows) => new[] { $"{index}:{string.Join(",", rows)}" }).CollectAsync();

        Assert.Equal(["0:0,1", "1:2,3,4", "2:5,6", "3:7,8,9"], seen);
    }

    [Fact]
    public async Task A_captured_local_travels()
    {
        var offset = 7;
        var names = new Dictionary<int, string> { [8] = "eight" };

        Assert.Equal(["eight"], await Session.Parallelize([1]).Select(row => names[row + offset]).CollectAsync());
    }

    [Theory]
    [InlineData(StorageLevel.Memory)]
    [InlineData(StorageLevel.MemoryAndDisk)]
    [InlineData(StorageLevel.Disk)]
    [InlineData(StorageLevel.Memory | StorageLevel.Serialized)]
    public async Task A_persisted_collection_is_computed_once(StorageLevel level)
    {
        var marks = Directory.CreateTempSubdirectory("yarnish-persist").FullName;
        try
        {
            var rows = Session.Range(0, 100, 4).MapPartitions((partition, values) =>
            {
                File.AppendAllText(Path.Combine(marks, $"{partition}"), "x");
                return values;
            }).Persist(level);

            Assert.Equal(100, await rows.CountAsync());
            Assert.Equal(4950, await rows.Select(static row => (long)row).ReduceAsync(static (left, right) => left + right));
            Assert.All(Directory.GetFiles(marks), file => Assert.Equal("x", File.ReadAllText(file)));

            rows.Unpersist();
            Assert.Equal(100, await rows.CountAsync());
            Assert.All(Directory.GetFiles(marks), file => Assert.Equal("xx", File.ReadAllText(file)));
        }
        finally
        {
            Directory.Delete(marks, recursive: true);
        }
    }

    [Fact]
    public async Task A_shuffle_is_not_computed_again_by_the_next_job()
    {
        var marks = Directory.CreateTempSubdirectory("yarnish-shuffle").FullName;
        try
        {
            var counts = Session.Range(0, 100, 3).Where(row =>
            {
                if (row == 0)
                {
                    File.AppendAllText(Path.Combine(marks, "mark"), "x");
                }
                return true;
            }).CountBy(static row => row % 10);

            Assert.Equal(10, await counts.CountAsync());
            Assert.Equal(10, await counts.CountAsync());
            Assert.Equal("x", File.ReadAllText(Path.Combine(marks, "mark")));
        }
        finally
        {
            Directory.Delete(marks, recursive: true);
        }
    }

    [Fact]
    public async Task For_each_partition_runs_for_its_effects()
    {
        var directory = Directory.CreateTempSubdirectory("yarnish-foreach").FullName;
        try
        {
            await Session.Range(0, 10, 3).ForEachPartitionAsync(rows => File.WriteAllText(Path.Combine(directory, Guid.NewGuid().ToString()), string.Join("\n", rows)));

            Assert.Equal(3, Directory.GetFiles(directory).Length);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public async Task A_collection_that_depends_on_many_shuffles_computes_each_once()
    {
        var rows = Session.Range(0, 64, 2).KeyBy(static row => row);
        for (var round = 0; round < 5; round++)
        {
            rows = rows.ReduceByKey(static (left, _) => left, partitions: 3).Select(static pair => new KeyValuePair<int, int>(pair.Key / 2, pair.Value));
        }

        // Halving 64 keys five times leaves two.
        Assert.Equal([0, 1], (await rows.CollectAsync()).Select(static pair => pair.Key).Distinct().Order());
    }

    [Fact]
    public async Task A_long_lineage_does_not_overflow()
    {
        var rows = Session.Range(0, 10, 2);
        for (var i = 0; i < 10_000; i++)
        {
            rows = rows.Select(static row => row + 1);
        }

        Assert.Equal(Enumerable.Range(10_000, 10), await rows.CollectAsync());
    }

    [Fact]
    public void A_key_without_value_equality_is_refused_where_it_is_written()
    {
        var error = Assert.Throws<KeyTypeException>(() => Session.Parallelize([1]).CountBy(static row => new object()));

        Assert.Contains("CountBy at CollectionTests.cs", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_exception_of_user_code_ends_the_job_with_the_place_and_the_reason()
    {
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Range(0, 10, 2).Select(static row => row == 7 ? throw new FormatException("seven") : row).CollectAsync());

        Assert.Equal("System.FormatException", error.RemoteError!.Type);
        Assert.Contains("CollectionTests.cs", error.Message, StringComparison.Ordinal);
        Assert.Contains("seven", error.Message, StringComparison.Ordinal);
    }
}
