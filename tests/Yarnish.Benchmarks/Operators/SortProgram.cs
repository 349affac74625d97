using System.Globalization;
using Yarnish.Serialization;

namespace Yarnish.Benchmarks.Operators;

/// <summary>Rows in the order of a string and then a number. The result is what the order of all rows hashes to, in stretches.</summary>
internal sealed class SortProgram : OperatorProgram<YarnishSession, SortProgram.Sorted>
{
    private const int Count = 2_000_000;

    public override string Name => "sort";

    protected override Task<YarnishSession> PrepareAsync(YarnishSession session) => Task.FromResult(session);

    protected override async Task<Sorted> RunAsync(YarnishSession state) =>
        new(await state.Range(0, Count).Select(static number => Person.Make(number))
            .OrderBy(static person => person.Name)
            .ThenBy(static person => person.Born)
            .MapPartitions(static people => new[] { Digest(people) })
            .CollectAsync(), null);

    // Both halves sorted on a core each, then merged: less than PLINQ's own OrderBy takes.
    protected override Sorted Baseline()
    {
        Person[] all = [.. ParallelEnumerable.Range(0, Count).AsOrdered().Select(static number => Person.Make(number))];
        const int Half = Count / 2;
        Parallel.Invoke(() => all.AsSpan(0, Half).Sort(Compare), () => all.AsSpan(Half).Sort(Compare));
        var sorted = new Person[Count];
        for (int left = 0, right = Half, next = 0; next < Count; next++)
        {
            sorted[next] = right == Count || (left < Half && Compare(all[left], all[right]) <= 0) ? all[left++] : all[right++];
        }
        return new([], sorted);

        // Equal rows in the order of the input, which is that of their ids.
        static int Compare(Person one, Person two) =>
            string.CompareOrdinal(one.Name, two.Name) is var names and not 0 ? names : one.Born.CompareTo(two.Born) is var years and not 0 ? years : one.Id.CompareTo(two.Id);
    }

    // The hash of the order, stretch by stretch as Yarnish cut it.
    protected override string? Difference(Sorted expected, Sorted actual)
    {
        var first = 0;
        foreach (var stretch in actual.Stretches)
        {
            var same = Digest(new ArraySegment<Person>(expected.All!, first, Math.Min(stretch.Rows, expected.All!.Length - first)));
            if (same != stretch)
            {
                return $"rows {first} to {first + stretch.Rows} are in another order";
            }
            first += stretch.Rows;
        }
        return first == Count ? null : $"{first} rows instead of {Count}";
    }

    private static Stretch Digest(IEnumerable<Person> people)
    {
        var (rows, hash) = (0, 0UL);
        foreach (var person in people)
        {
            rows++;
            hash = StableHash.Combine(hash, StableHash.Combine(StableHash.Of(person.Name), StableHash.Of(person.Id)));
        }
        return new Stretch(rows, hash);
    }

    internal sealed record Sorted(Stretch[] Stretches, Person[]? All);

    internal readonly record struct Stretch(int Rows, ulong Hash);

    internal sealed record Person(string Name, int Born, long Id)
    {
        public static Person Make(int number)
        {
            var random = StableHash.Of(number);
            return new(string.Create(CultureInfo.InvariantCulture, $"{(char)('A' + random % 26)}{random % 400_000}"), (int)(random >> 48), number);
        }
    }
}
