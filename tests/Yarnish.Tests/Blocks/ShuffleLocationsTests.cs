using CsCheck;
using Xunit;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Tests.Blocks;

public sealed class ShuffleLocationsTests
{
    [Fact]
    public void Packed_locations_unpack_to_the_same()
    {
        Gen.Select(Gen.Int[0, 30], Gen.Int[1, 20], Gen.Int[1, 4], Gen.Int).Sample(
            (maps, reducers, nodes, seed) =>
            {
                var random = new Random(seed);
                var outputs = Enumerable.Range(0, maps).Select(map => new MapOutput(
                    new ShuffleId(7),
                    map,
                    new TaskAttemptId(random.NextInt64()),
                    new NodeId($"node-{map % nodes}"),
                    map % nodes == 0 ? "" : $"http://10.0.0.{map % nodes}:8080",
                    Enumerable.Range(0, reducers).Select(_ => (byte)random.Next(256)).ToArray())).ToArray();
                random.Shuffle(outputs);

                var locations = ShuffleLocations.Unpack(ShuffleLocations.From(new ShuffleId(7), 3, outputs).Pack());

                Assert.Equal((new ShuffleId(7), 3, maps), (locations.ShuffleId, locations.Epoch, locations.MapPartitions));
                foreach (var output in outputs)
                {
                    Assert.Equal(output.AttemptId, locations.Output(output.MapPartition).AttemptId);
                    Assert.Equal((output.NodeId, output.NodeUrl), locations.Node(output.MapPartition));
                    for (var reducer = 0; reducer < reducers; reducer++)
                    {
                        Assert.Equal(output.SizeClasses.Span[reducer], locations.SizeClass(output.MapPartition, reducer));
                    }
                }
            });
    }

    [Fact]
    public void Damaged_bytes_are_refused()
    {
        var packed = ShuffleLocations.From(new ShuffleId(1), 1, [new MapOutput(new ShuffleId(1), 0, new TaskAttemptId(1), new NodeId("n"), "", new byte[] { 1, 2, 3 })]).Pack();
        for (var at = 0; at < packed.Length; at++)
        {
            var damaged = packed.ToArray();
            damaged[at] ^= 1;
            Assert.Throws<BlockCorruptException>(() => ShuffleLocations.Unpack(damaged));
        }
        Assert.Throws<BlockCorruptException>(() => ShuffleLocations.Unpack([]));
    }

    [Fact]
    public void Locations_with_a_gap_or_a_double_are_refused()
    {
        var one = new MapOutput(new ShuffleId(1), 0, new TaskAttemptId(1), new NodeId("n"), "", new byte[] { 1 });

        Assert.Throws<ArgumentException>(() => ShuffleLocations.From(new ShuffleId(1), 1, [one, one]));
        Assert.Throws<ArgumentException>(() => ShuffleLocations.From(new ShuffleId(1), 1, [one with { MapPartition = 1 }]));
        Assert.Throws<ArgumentException>(() => ShuffleLocations.From(new ShuffleId(2), 1, [one]));
    }
}
