using System.Buffers;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Executor;
using Yarnish.Protocol;
using Yarnish.Serialization;

namespace Yarnish.Tests.Executor;

public sealed class CollectionCacheTests : IDisposable
{
    private static readonly ExecutorId Self = new("executor-1");

    private readonly BlockDirectory directory = new(Path.Combine(Path.GetTempPath(), $"yarnish-cache-{Guid.NewGuid():N}"));
    private int computed;

    private CollectionStore Store(long memory) => new(directory, Self, memory, NullLogger.Instance);

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
    public void Rows_are_computed_once_and_read_back_the_same(StorageLevel level)
    {
        using var store = Store(memory: 64 * 1024 * 1024);
        var first = new AttemptCache(store);
        var again = new AttemptCache(store);

        var computedRows = first.GetOrCompute(1, 0, level, new Lines(), () => Rows(50_000)).ToList();
        var held = again.GetOrCompute(1, 0, level, new Lines(), () => Rows(50_000)).ToList();

        Assert.Equal(Rows(50_000), computedRows);
        Assert.Equal(computedRows, held);
        Assert.Equal(2, computed);
        var stored = Assert.Single(first.Stored!);
        Assert.Equal((1, 0), (stored.Collection, stored.Partition));
        Assert.Equal(level == StorageLevel.Disk, stored.DiskBytes > 0);
        Assert.Equal(level != StorageLevel.Disk, stored.MemoryBytes > 0);
        Assert.Null(again.Stored);
    }

    [Fact]
    public void What_does_not_fit_goes_to_disk_or_is_computed_again_as_the_level_says()
    {
        using var store = Store(memory: 100_000);

        Assert.Equal(50_000, new AttemptCache(store).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(50_000)).Count());
        Assert.Equal(50_000, new AttemptCache(store).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(50_000)).Count());
        Assert.Equal(1, computed);

        Assert.Equal(50_000, new AttemptCache(store).GetOrCompute(2, 0, StorageLevel.Memory, new Lines(), () => Rows(50_000)).Count());
        Assert.Equal(50_000, new AttemptCache(store).GetOrCompute(2, 0, StorageLevel.Memory, new Lines(), () => Rows(50_000)).Count());
        Assert.Equal(3, computed);
        Assert.Equal(0, store.UsedBytes);
    }

    [Fact]
    public void The_partition_used_longest_ago_makes_room_but_never_for_its_own_collection()
    {
        using var store = Store(memory: 900_000);

        // Estimated 52 bytes a row: 260 KB each, so three fit.
        int Use(int collection, int partition) => new AttemptCache(store).GetOrCompute(collection, partition, StorageLevel.Memory, new Lines(), () => Rows(5_000)).Count();

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
        using var store = Store(memory: 400_000);

        Assert.NotEmpty(new AttemptCache(store).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000)).ToList());
        Assert.NotEmpty(new AttemptCache(store).GetOrCompute(2, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000)).ToList());
        computed = 0;

        Assert.Equal(5_000, new AttemptCache(store).GetOrCompute(1, 0, StorageLevel.MemoryAndDisk, new Lines(), () => Rows(5_000)).Count());
        Assert.Equal(0, computed);
    }

    [Fact]
    public void A_damaged_file_is_computed_again()
    {
        using var store = Store(memory: 1000);
        Assert.NotEmpty(new AttemptCache(store).GetOrCompute(1, 0, StorageLevel.Disk, new Lines(), () => Rows(1_000)).ToList());
        var path = directory.CachePath(Self, 1, 0);
        var bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);

        Assert.Equal(Rows(1_000), new AttemptCache(store).GetOrCompute(1, 0, StorageLevel.Disk, new Lines(), () => Rows(1_000)));
        Assert.True(computed >= 2);
    }

    [Fact]
    public void A_dropped_collection_leaves_neither_memory_nor_files()
    {
        using var store = Store(memory: 10_000_000);
        Assert.NotEmpty(new AttemptCache(store).GetOrCompute(1, 0, StorageLevel.Memory, new Lines(), () => Rows(1_000)).ToList());
        Assert.NotEmpty(new AttemptCache(store).GetOrCompute(1, 1, StorageLevel.Disk, new Lines(), () => Rows(1_000)).ToList());

        store.Drop(1);

        Assert.Equal(0, store.UsedBytes);
        Assert.False(File.Exists(directory.CachePath(Self, 1, 1)));
    }

    [Fact]
    public void A_computation_that_fails_gives_its_memory_back()
    {
        using var store = Store(memory: 10_000_000);

        Assert.Throws<InvalidDataException>(() => new AttemptCache(store).GetOrCompute(1, 0, StorageLevel.Memory, new Lines(), Broken).Count());

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

    public void Dispose() => directory.DeleteAll();

    private sealed class Lines : IRowFormat<string>
    {
        public void Write(IBufferWriter<byte> output, string row)
        {
            output.Write(Encoding.UTF8.GetBytes(row));
            output.Write("\n"u8);
        }

        public IEnumerable<string> Read(ReadOnlyMemory<byte> input)
        {
            foreach (var line in Encoding.UTF8.GetString(input.Span).Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                yield return line;
            }
        }
    }
}
