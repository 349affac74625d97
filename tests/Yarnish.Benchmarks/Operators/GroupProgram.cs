using System.Runtime.InteropServices;
using Yarnish.Serialization;

namespace Yarnish.Benchmarks.Operators;

/// <summary>The median of each sensor's values: all rows of a key must come together, nothing can be combined before.</summary>
internal sealed class GroupProgram : OperatorProgram<YarnishSession, (long Sensors, long Sum)>
{
    private const int Readings = 6_000_000;
    private const int Sensors = 150_000;

    public override string Name => "group";

    protected override Task<YarnishSession> PrepareAsync(YarnishSession session) => Task.FromResult(session);

    protected override Task<(long Sensors, long Sum)> RunAsync(YarnishSession state) =>
        state.Range(0, Readings).Select(static number => Reading.Make(number))
            .GroupBy(static reading => reading.Sensor)
            .Select(static group => Median(group.Value))
            .AggregateAsync((0L, 0L), static (sums, median) => (sums.Item1 + 1, sums.Item2 + median), static (left, right) => (left.Item1 + right.Item1, left.Item2 + right.Item2));

    // A dictionary of lists for each worker, joined at the end: less than PLINQ's own GroupBy takes.
    protected override (long Sensors, long Sum) Baseline() =>
        ParallelEnumerable.Range(0, Readings).Select(static number => Reading.Make(number))
            .Aggregate(
                static () => new Dictionary<int, List<Reading>>(),
                static (groups, reading) =>
                {
                    (CollectionsMarshal.GetValueRefOrAddDefault(groups, reading.Sensor, out _) ??= []).Add(reading);
                    return groups;
                },
                static (left, right) =>
                {
                    foreach (var (sensor, readings) in right)
                    {
                        ref var all = ref CollectionsMarshal.GetValueRefOrAddDefault(left, sensor, out var exists);
                        if (exists)
                        {
                            all!.AddRange(readings);
                        }
                        else
                        {
                            all = readings;
                        }
                    }
                    return left;
                },
                static groups => groups)
            .AsParallel()
            .Select(static group => Median([.. group.Value]))
            .Aggregate((0L, 0L), static (sums, median) => (sums.Item1 + 1, sums.Item2 + median), static (left, right) => (left.Item1 + right.Item1, left.Item2 + right.Item2), static sums => sums);

    protected override string? Difference((long Sensors, long Sum) expected, (long Sensors, long Sum) actual) => expected == actual ? null : $"found {actual} instead of {expected}";

    private static int Median(Reading[] readings)
    {
        var values = Array.ConvertAll(readings, static reading => reading.Value);
        Array.Sort(values);
        return values[values.Length / 2];
    }

    private readonly record struct Reading(int Sensor, int Second, int Value)
    {
        public static Reading Make(int number)
        {
            var random = StableHash.Of(number);
            return new((int)(random % Sensors), number / 1_000, (int)(random >> 40));
        }
    }
}
