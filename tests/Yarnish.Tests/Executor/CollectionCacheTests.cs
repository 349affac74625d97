using System.Buffers;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Serialization;

namespace Yarnish.Tests.Executor;

public sealed class CollectionCacheTests : IDisposable
{
    private readonly BlockDirectory directory = new(Path.Combine(Path.GetTempPath(), $"yarnish-cache-{Guid.NewGuid():N}"));
    private int computed;

    private CollectionStore Store(long memory) => new(new PartitionFiles(directory, NullLogger.Instance), memory, NullLogger.Instance);

    private static AttemptCache Cache(CollectionStore store, Func<int, int, bool>? fetch = null) => new(store, fetch, NullLogger.Instance);

    private string FileOf(int collection, int partition) => Path.Combine(directory.Root, "named", BlockId.OfPartition(collection, partition).Value);

    private IEnumerable<string> Rows(int count)
    {
        computed++;
        for (var i = 0; i < count; i++)
        {
            yield return $"row {i:000000}";
        }
    }

    [Theory]
    [InlineData(StorageLevel.Memory)]
    [InlineData(StorageLevel.Disk)]
    [InlineData(StorageLevel.MemoryAndDisk)]
    [InlineData(StorageLevel.Memory | StorageLevel.Serialized)]
    [InlineData(StorageLevel.MemoryAndDisk | StorageLevel.Serialized)]
    [InlineData(StorageLevel.Disk | StorageLevel.Serialized)]
    [InlineData(StorageLevel.Memory | StorageLevel.Replicated)]
    [InlineData(StorageLevel.MemoryAndDiskSerialized | StorageLevel.Replicated)]
    [InlineData(StorageLevel.Disk | StorageLevel.Replicated)]
    public void Rows_are_computed_once_and_read_back_the_same(StorageLevel level)
    {
        var store = Store(memory: 64 * 1024 * 1024);
        var first = Cache(store);
        var again = Cache(store);

        var computedRows = first.GetOrCompute(1, 0, level, new Lines(), () => Rows(50_000)).ToList();
        var held = again.GetOrCompute(1, 0, level, new Lines(), () => Rows(50_000)).ToList();

        Assert.Equal(Rows(50_000), computedRows);
        Assert.Equal(computedRows, held);
        Assert.Equal(2, computed);
        var stored = Assert.Single(first.Stored!);
        Assert.Equal((1, 0), (stored.Collection, stored.Partition));
        Assert.Equal((level & StorageLevel.Memory) == 0 || (level & StorageLevel.Replicated) != 0, stored.DiskBytes > 0);
        Assert.Equal((level & StorageLevel.Memory) != 0, stored.MemoryBytes > 0);
        Assert.Equal((level & StorageLevel.Replicated) != 0, stored.Replicate);
        Assert.Null(again.Stored);
    }

    [Fact]
    public void What_does_not_fit_goes_to_disk_or_is_computed_again_as_the_level_says()
    {
        var store = Store(memory: 100_000);

        Assert.Equal(50_000, Cache(store).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(50_000)).Count());
        Assert.Equal(50_000, Cache(store).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(50_000)).Count());
        Assert.Equal(1, computed);

        Assert.Equal(50_000, Cache(store).GetOrCompute(2, 0, StorageLevel.Memory, new Lines(), () => Rows(50_000)).Count());
        Assert.Equal(50_000, Cache(store).GetOrCompute(2, 0, StorageLevel.Memory, new Lines(), () => Rows(50_000)).Count());
        Assert.Equal(3, computed);
        Assert.Equal(0, store.UsedBytes);
    }

    [Fact]
    public void The_partition_used_longest_ago_makes_room_but_never_for_its_own_collection()
    {
        var store = Store(memory: 900_000);

        // Estimated 52 bytes a row: 260 KB each, so three fit.
        int Use(int collection, int partition) => Cache(store).GetOrCompute(collection, partition, StorageLevel.Memory, new Lines(), () => Rows(5_000)).Count();

        Use(1, 0);
        Use(1, 1);
        Use(1, 2);
        Use(1, 3);
        computed = 0;
        Use(1, 0);
        Assert.Equal(0, computed);
        Use(1, 3);
        Assert.Equal(1, computed);

        Use(2, 0);
        computed = 0;
        Use(1, 0);
        Use(2, 0);
        Assert.Equal(0, computed);
        Use(1, 1);
        Assert.Equal(1, computed);
    }

    [Fact]
    public void A_partition_pushed_out_goes_to_disk_when_its_level_says_so()
    {
        var store = Store(memory: 400_000);

        Assert.NotEmpty(Cache(store).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000)).ToList());
        Assert.NotEmpty(Cache(store).GetOrCompute(2, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000)).ToList());
        computed = 0;

        Assert.Equal(5_000, Cache(store).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000)).Count());
        Assert.Equal(0, computed);
    }

    [Fact]
    public void A_damaged_file_is_computed_again()
    {
        var store = Store(memory: 1000);
        Assert.NotEmpty(Cache(store).GetOrCompute(1, 0, StorageLevel.Disk, new Lines(), () => Rows(1_000)).ToList());
        var path = FileOf(1, 0);
        var bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);

        Assert.Equal(Rows(1_000), Cache(store).GetOrCompute(1, 0, StorageLevel.Disk, new Lines(), () => Rows(1_000)));
        Assert.True(computed >= 2);
    }

    [Fact]
    public void A_dropped_collection_leaves_neither_memory_nor_files()
    {
        var store = Store(memory: 10_000_000);
        Assert.NotEmpty(Cache(store).GetOrCompute(1, 0, StorageLevel.Memory, new Lines(), () => Rows(1_000)).ToList());
        Assert.NotEmpty(Cache(store).GetOrCompute(1, 1, StorageLevel.Disk, new Lines(), () => Rows(1_000)).ToList());

        store.Drop(1);
        store.Files.DeleteAll(1);

        Assert.Equal(0, store.UsedBytes);
        Assert.Empty(store.TakeChanges(100));
        Assert.False(File.Exists(FileOf(1, 1)));
    }

    [Fact]
    public void A_computation_that_fails_gives_its_memory_back()
    {
        var store = Store(memory: 10_000_000);

        Assert.Throws<InvalidDataException>(() => Cache(store).GetOrCompute(1, 0, StorageLevel.Memory, new Lines(), Broken).Count());

        Assert.Equal(0, store.UsedBytes);

        static IEnumerable<string> Broken()
        {
            for (var i = 0; i < 10_000; i++)
            {
                yield return "row";
            }
            throw new InvalidDataException("broken");
        }
    }

    [Fact]
    public void A_disk_that_takes_nothing_costs_the_partition_its_place_and_not_the_task_its_result()
    {
        Directory.CreateDirectory(directory.Root);
        File.WriteAllText(Path.Combine(directory.Root, "named"), "in the way");
        var store = Store(memory: 400_000);

        foreach (var level in (StorageLevel[])[StorageLevel.Disk, StorageLevel.MemoryAndDisk, StorageLevel.MemoryAndDiskSerialized, StorageLevel.Memory | StorageLevel.Replicated])
        {
            var cache = Cache(store);
            Assert.Equal(Rows(50_000), cache.GetOrCompute(1, 0, level, new Lines(), () => Rows(50_000)));
            store.Drop(1);
        }
        // One that has to make room is lost, not the task that needs the room.
        var first = Cache(store).GetOrCompute(2, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000));
        var second = Cache(store).GetOrCompute(3, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000));

        Assert.Equal(first, second);
        Assert.Equal([(2, 0, false)], store.TakeChanges(10).Select(change => (change.Collection, change.Partition, change.MemoryBytes > 0)));
    }

    [Fact]
    public void An_error_of_the_rows_themselves_is_no_full_disk()
    {
        var store = Store(memory: 1000);

        Assert.Throws<FileNotFoundException>(() => Cache(store).GetOrCompute(1, 0, StorageLevel.Disk, new Lines(), Broken).Count());

        Assert.Empty(Directory.EnumerateFiles(Path.Combine(directory.Root, "named")));

        static IEnumerable<string> Broken()
        {
            yield return "row";
            throw new FileNotFoundException("the user's own file");
        }
    }

    [Fact]
    public void A_partition_that_is_a_file_of_the_node_is_read_by_its_other_executors_and_taken_into_memory()
    {
        var other = Store(memory: 1);
        Assert.Equal(5_000, Cache(other).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000)).Count());
        computed = 0;
        var store = Store(memory: 10_000_000);

        var first = Cache(store);
        Assert.Equal(5_000, first.GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000)).Count());
        File.Delete(FileOf(1, 0));
        Assert.Equal(5_000, Cache(store).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000)).Count());

        Assert.Equal(0, computed);
        Assert.True(Assert.Single(first.Stored!) is { MemoryBytes: > 0, DiskBytes: > 0 });
    }

    [Fact]
    public void What_another_node_has_is_fetched_before_it_is_computed()
    {
        var store = Store(memory: 10_000_000);
        List<(int, int)> asked = [];

        var rows = Cache(store, (collection, partition) =>
        {
            asked.Add((collection, partition));
            store.Files.Write(collection, partition, new Lines(), ["from", "elsewhere"]);
            return true;
        }).GetOrCompute(1, 7, StorageLevel.Memory, new Lines(), () => Rows(1));
        var computedRows = Cache(store, (_, _) => false).GetOrCompute(1, 8, StorageLevel.Memory, new Lines(), () => Rows(1));

        Assert.Equal(["from", "elsewhere"], rows);
        Assert.Equal(["row 000000"], computedRows);
        Assert.Equal([(1, 7)], asked);
    }

    [Fact]
    public void Who_leaves_writes_what_is_in_memory_only_and_says_so()
    {
        var store = Store(memory: 10_000_000);
        Assert.Equal(100, Cache(store).GetOrCompute(1, 0, StorageLevel.Memory, new Lines(), () => Rows(100)).Count());
        Assert.Equal(100, Cache(store).GetOrCompute(1, 1, StorageLevel.MemorySerialized, new Lines(), () => Rows(100)).Count());

        store.WriteAll(CancellationToken.None);

        Assert.Equal([(1, 0), (1, 1)], store.TakeChanges(10).Where(change => change is { MemoryBytes: > 0, DiskBytes: > 0 }).Select(change => (change.Collection, change.Partition)).Order());
        Assert.Empty(store.TakeChanges(10));
        var other = Store(memory: 1);
        computed = 0;
        Assert.Equal(Rows(100), Cache(other).GetOrCompute(1, 1, StorageLevel.MemorySerialized, new Lines(), () => Rows(100)));
        Assert.Equal(1, computed);
    }

    [Fact]
    public void What_is_dropped_while_it_is_read_is_read_to_the_end_and_what_is_stored_after_is_not_kept()
    {
        var store = Store(memory: 10_000_000);
        using var reading = Cache(store).GetOrCompute(1, 0, StorageLevel.Disk, new Lines(), () => Rows(50_000)).GetEnumerator();
        Assert.True(reading.MoveNext());

        store.Drop(1);
        store.Files.DeleteAll(1);
        var late = Cache(store);
        Assert.Equal(100, late.GetOrCompute(1, 1, StorageLevel.Disk, new Lines(), () => Rows(100)).Count());
        Assert.Equal(100, late.GetOrCompute(1, 2, StorageLevel.Memory, new Lines(), () => Rows(100)).Count());

        var left = 1;
        while (reading.MoveNext())
        {
            left++;
        }
        Assert.Equal(50_000, left);
        Assert.Null(late.Stored);
        Assert.Equal(0, store.UsedBytes);
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(directory.Root, "named")));
    }

    public void Dispose() => directory.DeleteAll();

    private sealed class Lines : IRowFormat<string>
    {
        public void Write(IBufferWriter<byte> output, string row)
        {
            output.Write(Encoding.UTF8.GetBytes(row));
            output.Write("\n"u8);
        }

        public int Read(ReadOnlyMemory<byte> input, ref int position, Span<string> rows)
        {
            var count = 0;
            while (count < rows.Length && position < input.Length)
            {
                var line = input.Span[position..];
                line = line[..line.IndexOf((byte)'\n')];
                rows[count++] = Encoding.UTF8.GetString(line);
                position += line.Length + 1;
            }
            return count;
        }
    }
}
