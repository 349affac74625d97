using Xunit;
using Yarnish.Serialization;

namespace Yarnish.Tests.Collections;

/// <summary>Where keys are put, and what need not be shuffled because of it. Shuffles are counted by the stages that really ran.</summary>
public sealed class PartitioningTests(IsolatedSession isolated) : LinqAgreement(isolated)
{
    private static readonly HashPartitioner<int> Four = new(4);

    /// <summary>Pairs that are partitioned and whose shuffle is written.</summary>
    private async Task<Rdd<KeyValuePair<int, int>>> PartitionedAsync(KeyPartitioner<int>? partitioner = null)
    {
        var pairs = Session.Range(0, 100, 3).KeyBy(static row => row % 10).PartitionBy(partitioner ?? Four);
        await pairs.CountAsync();
        return pairs;
    }

    /// <summary>Stages that the work completes, its result stage included.</summary>
    private async Task<long> StagesAsync(Func<Task> work)
    {
        var before = Session.Progress.StagesCompleted;
        await work();
        return Session.Progress.StagesCompleted - before;
    }

    [Fact]
    public Task Every_partitioner_keeps_all_pairs_and_puts_each_where_it_says() => EachAsync(async sample =>
    {
        var pairs = Session.Parallelize(sample.Rows, sample.Partitions).KeyBy(static row => row % 8);
        foreach (var partitioner in new KeyPartitioner<int>[] { new HashPartitioner<int>(sample.Partitions), new RangePartitioner<int>([-3, 0, 4]), new ByLastBit() })
        {
            var parts = await pairs.PartitionBy(partitioner).Glom().CollectAsync();

            Assert.Equal(partitioner.Partitions, parts.Length);
            Assert.All(parts.Index(), part => Assert.All(part.Item, pair => Assert.Equal(part.Index, partitioner.PartitionOf(pair.Key))));
            Assert.Equal(sample.Rows.Order(), parts.SelectMany(part => part).Select(pair => pair.Value).Order());
        }
    });

    [Fact]
    public Task Sorting_within_partitions_keeps_the_order_of_equal_keys() => EachAsync(async sample =>
    {
        var sorted = await Session.Parallelize(sample.Rows, sample.Partitions).Index().Select(static row => KeyValuePair.Create(row.Item % 8, row.Index))
            .RepartitionAndSortWithinPartitions(new RangePartitioner<int>([-3, 0, 4])).CollectAsync();

        Assert.Equal(sample.Rows.Select((row, i) => KeyValuePair.Create(row % 8, (long)i)).OrderBy(pair => pair.Key), sorted);
    });

    [Fact]
    public async Task Sorting_within_partitions_takes_a_comparer()
    {
        var sorted = await Session.Parallelize(["b", "A", "a", "B"], 2).KeyBy(static row => row)
            .RepartitionAndSortWithinPartitions(new HashPartitioner<string>(1), StringComparer.OrdinalIgnoreCase).Keys().CollectAsync();

        Assert.Equal(["A", "a", "b", "B"], sorted);
    }

    [Fact]
    public async Task Sampled_ranges_are_about_equally_large()
    {
        var pairs = Session.Range(0, 20_000, 5).Select(static row => KeyValuePair.Create(row * 7919 % 20_011, row));

        var sizes = await pairs.PartitionBy(await pairs.RangePartitionerAsync(4)).Glom().Select(static part => part.Length).CollectAsync();

        Assert.Equal(4, sizes.Length);
        Assert.All(sizes, size => Assert.InRange(size, 3_000, 7_000));
    }

    [Fact]
    public async Task Ranges_of_one_key_are_one_partition()
    {
        var partitioner = await Session.Range(0, 100, 3).KeyBy(static _ => "same").RangePartitionerAsync(5);

        Assert.InRange(partitioner.Partitions, 1, 2);
    }

    [Fact]
    public void Partitioners_are_equal_when_they_say_the_same()
    {
        Assert.Equal(new HashPartitioner<int>(4), Four);
        Assert.NotEqual(new HashPartitioner<int>(5), Four);
        Assert.Equal(new RangePartitioner<int>([1, 5]), new RangePartitioner<int>([1, 5]));
        Assert.NotEqual(new RangePartitioner<int>([1, 5]), new RangePartitioner<int>([1, 6]));
        Assert.NotEqual<KeyPartitioner<int>>(new RangePartitioner<int>([1, 5, 7]), Four);
        Assert.Equal(new RangePartitioner<int>([1, 5]).GetHashCode(), new RangePartitioner<int>([1, 5]).GetHashCode());
    }

    [Fact]
    public void Partitioners_that_make_no_sense_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new RangePartitioner<int>([5, 1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new HashPartitioner<int>(0));
        Assert.Throws<KeyTypeException>(() => new HashPartitioner<object>(2));
        Assert.Throws<ArgumentException>(() => Session.Range(0, 3).KeyBy(static row => row).PartitionBy(new Outside(0)));
    }

    [Fact]
    public async Task A_partitioner_that_points_outside_fails_the_job_with_its_name()
    {
        var error = await Assert.ThrowsAsync<YarnishJobException>(() => Session.Range(0, 3).KeyBy(static row => row).PartitionBy(new Outside(2)).CountAsync());

        Assert.Contains("Outside.PartitionOf gave 2 for key", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_partitioner_that_cannot_travel_is_refused_where_it_is_given()
    {
        var error = Assert.Throws<ClosureException>(() => Session.Range(0, 3).KeyBy(static row => row).PartitionBy(new WithSession(Session)));

        Assert.Contains("PartitionBy", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Partitioning_again_alike_does_nothing()
    {
        var pairs = await PartitionedAsync();

        Assert.Same(pairs, pairs.PartitionBy(new HashPartitioner<int>(4)));
        Assert.NotSame(pairs, pairs.PartitionBy(new HashPartitioner<int>(5)));
    }

    [Fact]
    public async Task By_key_operators_on_what_is_partitioned_run_in_one_stage()
    {
        var pairs = await PartitionedAsync();

        Assert.Equal(1, await StagesAsync(async () => Assert.Equal(10, (await pairs.ReduceByKey(static (left, right) => left + right).CollectAsync()).Length)));
        Assert.Equal(1, await StagesAsync(async () => Assert.Equal(10, (await pairs.GroupByKey().CollectAsync()).Length)));
        Assert.Equal(1, await StagesAsync(async () => Assert.All(await pairs.AggregateByKey(0, static (count, _) => count + 1, static (left, right) => left + right).CollectAsync(), pair => Assert.Equal(10, pair.Value))));
        Assert.Equal(1, await StagesAsync(async () => Assert.All(await pairs.FoldByKey(0, static (left, right) => left + right).CollectAsync(), pair => Assert.Equal(450 + (10 * pair.Key), pair.Value))));
        Assert.Equal(1, await StagesAsync(async () => Assert.Equal(10, (await pairs.CombineByKey(static row => row, static (left, _) => left, static (left, _) => left, mapSideCombine: false).CollectAsync()).Length)));
        // Another number of partitions was asked for: a shuffle it is.
        Assert.Equal(2, await StagesAsync(async () => Assert.Equal(10, (await pairs.ReduceByKey(static (left, right) => left + right, partitions: 3).CollectAsync()).Length)));
    }

    [Fact]
    public async Task A_join_of_sides_that_agree_runs_in_one_stage_whatever_keeps_the_keys_came_between()
    {
        var left = await PartitionedAsync();
        var right = await PartitionedAsync();

        Assert.Equal(1, await StagesAsync(() => JoinedAsync(left, right)));
        Assert.Equal(1, await StagesAsync(() => JoinedAsync(left.Where(static _ => true), right)));
        Assert.Equal(1, await StagesAsync(() => JoinedAsync(left, right.SelectValues(static value => value))));
        Assert.Equal(1, await StagesAsync(() => JoinedAsync(left.SelectManyValues(static value => new[] { value }), right.Sample(1))));
        Assert.Equal(1, await StagesAsync(() => JoinedAsync(left.MapPartitions(static rows => rows, keepsPartitioning: true), right)));
        Assert.Equal(1, await StagesAsync(() => JoinedAsync(left, left)));
    }

    [Fact]
    public async Task A_persisted_side_joins_without_a_shuffle_and_without_being_read_from_one_again()
    {
        var left = (await PartitionedAsync()).Persist();
        await left.CountAsync();
        var right = await PartitionedAsync();

        Assert.Equal(1, await StagesAsync(() => JoinedAsync(left, right)));
        Assert.Equal(1, await StagesAsync(() => JoinedAsync(right, left)));
        left.Unpersist();
        Assert.Equal(1, await StagesAsync(() => JoinedAsync(left, right)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Of_two_sides_only_the_one_that_is_not_in_place_is_shuffled(bool leftInPlace)
    {
        var placed = await PartitionedAsync();
        var loose = Session.Range(0, 100, 3).KeyBy(static row => row % 10);

        Assert.Equal(2, await StagesAsync(() => leftInPlace ? JoinedAsync(placed, loose) : JoinedAsync(loose, placed)));
        Assert.Equal(2, await StagesAsync(async () => Assert.Equal(0, await (leftInPlace ? placed.SubtractByKey(loose) : loose.SubtractByKey(placed)).CountAsync())));
        Assert.Equal(2, await StagesAsync(async () => Assert.Equal(10, await (leftInPlace ? placed.CoGroup(loose, placed) : loose.CoGroup(placed, placed)).CountAsync())));
    }

    [Fact]
    public async Task A_join_after_the_keys_were_changed_shuffles()
    {
        var left = await PartitionedAsync();

        Assert.Null(left.Select(static pair => pair).Partitioner);
        Assert.Equal(2, await StagesAsync(() => JoinedAsync(left, left.Select(static pair => pair))));
        Assert.Equal(2, await StagesAsync(() => JoinedAsync(left.MapPartitions(static rows => rows), left)));
        Assert.Equal(2, await StagesAsync(() => JoinedAsync(left, left.Coalesce(2))));
    }

    [Fact]
    public async Task A_join_of_sides_that_differ_goes_where_more_partitions_are()
    {
        var few = await PartitionedAsync(new HashPartitioner<int>(2));
        var many = await PartitionedAsync(new HashPartitioner<int>(6));

        Assert.Equal(6, few.Join(many).Partitions);
        Assert.Equal(2, await StagesAsync(() => JoinedAsync(few, many)));
    }

    [Fact]
    public async Task Custom_and_range_partitioners_save_shuffles_too()
    {
        foreach (var partitioner in new Func<KeyPartitioner<int>>[] { static () => new ByLastBit(), static () => new RangePartitioner<int>([2, 6]) })
        {
            var (left, right) = (await PartitionedAsync(partitioner()), await PartitionedAsync(partitioner()));

            Assert.Equal(1, await StagesAsync(() => JoinedAsync(left, right)));
        }
    }

    private static async Task JoinedAsync(Rdd<KeyValuePair<int, int>> left, Rdd<KeyValuePair<int, int>> right)
    {
        var joined = await left.Join(right).CollectAsync();
        Assert.Equal(1_000, joined.Length);
        Assert.All(joined, pair => Assert.Equal((pair.Key, pair.Key), (pair.Value.Left % 10, pair.Value.Right % 10)));
    }

    private sealed class ByLastBit : KeyPartitioner<int>
    {
        public override int Partitions => 2;

        public override int PartitionOf(int key) => key & 1;

        public override bool Equals(object? obj) => obj is ByLastBit;

        public override int GetHashCode() => 1;
    }

    private sealed class Outside(int partitions) : KeyPartitioner<int>
    {
        private readonly int partitions = partitions;

        public override int Partitions => partitions;

        public override int PartitionOf(int key) => partitions;
    }

    private sealed class WithSession(YarnishSession session) : KeyPartitioner<int>
    {
        private readonly YarnishSession session = session;

        public override int Partitions => 2;

        public override int PartitionOf(int key) => session.IsEmbedded ? 0 : 1;
    }
}
