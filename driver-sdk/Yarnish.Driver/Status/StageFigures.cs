using System.Collections.Immutable;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>The figures of the successful attempts of one stage attempt, in memory that does not grow with their number. Figures that are 0 everywhere cost nothing.</summary>
internal sealed class StageFigures
{
    private const int Own = 2;

    private readonly Spread?[] spreads = new Spread?[Own + TaskFigure.All.Length];
    private ImmutableArray<MetricSpread> frozen;

    /// <summary>How many attempts are in it.</summary>
    public int Count { get; private set; }

    public void Add(in EndedTask task)
    {
        if (!frozen.IsDefault)
        {
            return;
        }
        Add(0, task.WallMicroseconds);
        Add(1, TaskFigure.DelayOf(task));
        for (var i = 0; i < TaskFigure.All.Length; i++)
        {
            Add(Own + i, TaskFigure.All[i].Read(task.Metrics));
        }
        Count++;
    }

    /// <summary>How each figure is spread.</summary>
    public ImmutableArray<MetricSpread> Spreads()
    {
        if (!frozen.IsDefault)
        {
            return frozen;
        }
        var result = ImmutableArray.CreateBuilder<MetricSpread>();
        for (var i = 0; i < spreads.Length; i++)
        {
            if (spreads[i] is { } spread)
            {
                var (minimum, lower, median, upper, maximum) = spread.Values.ToDistribution();
                result.Add(new MetricSpread(NameOf(i), spread.Sum, minimum, lower, median, upper, maximum));
            }
        }
        return result.ToImmutable();
    }

    /// <summary>The sums, as the metrics of one large task.</summary>
    public TaskMetrics Totals()
    {
        Span<long> sums = stackalloc long[TaskFigure.All.Length];
        sums.Clear();
        if (frozen.IsDefault)
        {
            for (var i = 0; i < sums.Length; i++)
            {
                sums[i] = spreads[Own + i]?.Sum ?? 0;
            }
        }
        else
        {
            for (var i = 0; i < sums.Length; i++)
            {
                foreach (var spread in frozen)
                {
                    sums[i] = spread.Name == TaskFigure.All[i].Name ? spread.Sum : sums[i];
                }
            }
        }
        return TaskFigure.ToMetrics(sums);
    }

    /// <summary>The stage has ended: keeps the result and lets go of what it was computed from. Later ones are not added.</summary>
    public void Freeze()
    {
        if (frozen.IsDefault)
        {
            frozen = Spreads();
            Array.Clear(spreads);
        }
    }

    private static string NameOf(int index) => index switch
    {
        0 => TaskFigure.Wall,
        1 => TaskFigure.SchedulerDelay,
        _ => TaskFigure.All[index - Own].Name,
    };

    private void Add(int index, long value)
    {
        if (spreads[index] is not { } spread)
        {
            if (value == 0)
            {
                return;
            }
            spreads[index] = spread = new Spread();
            spread.Values.Add(0, Count);
        }
        spread.Sum += value;
        spread.Values.Add(value);
    }

    private sealed class Spread
    {
        public Histogram Values { get; } = new();

        public long Sum { get; set; }
    }
}
