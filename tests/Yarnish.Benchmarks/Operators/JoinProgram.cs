using System.Runtime.InteropServices;
using Yarnish.Serialization;

namespace Yarnish.Benchmarks.Operators;

/// <summary>Orders with their customers, then the turnover of each country: a join of two collections on a key, both by a shuffle.</summary>
internal sealed class JoinProgram : OperatorProgram<YarnishSession, KeyValuePair<int, long>[]>
{
    private const int Orders = 4_000_000;
    private const int Customers = 400_000;

    public override string Name => "join";

    protected override Task<YarnishSession> PrepareAsync(YarnishSession session) => Task.FromResult(session);

    protected override async Task<KeyValuePair<int, long>[]> RunAsync(YarnishSession state) =>
        Sorted(await state.Range(0, Orders).Select(static number => Order.Make(number))
            .Join(
                state.Range(0, Customers).Select(static number => Customer.Make(number)),
                static order => order.Customer,
                static customer => customer.Id,
                static (order, customer) => KeyValuePair.Create(customer.Country, order.Cents))
            .ReduceByKey(static (left, right) => left + right)
            .CollectAsync());

    // A dictionary of the smaller side, which fits into one process: half the time of PLINQ's own Join, which partitions both sides.
    protected override KeyValuePair<int, long>[] Baseline()
    {
        var customers = ParallelEnumerable.Range(0, Customers).Select(static number => Customer.Make(number)).ToDictionary(static customer => customer.Id);
        return Sorted(ParallelEnumerable.Range(0, Orders).Select(static number => Order.Make(number)).Aggregate(
            static () => new Dictionary<int, long>(),
            (turnover, order) =>
            {
                if (customers.TryGetValue(order.Customer, out var customer))
                {
                    CollectionsMarshal.GetValueRefOrAddDefault(turnover, customer.Country, out _) += order.Cents;
                }
                return turnover;
            },
            static (left, right) =>
            {
                foreach (var (country, cents) in right)
                {
                    CollectionsMarshal.GetValueRefOrAddDefault(left, country, out _) += cents;
                }
                return left;
            },
            static turnover => turnover));
    }

    protected override string? Difference(KeyValuePair<int, long>[] expected, KeyValuePair<int, long>[] actual) =>
        expected.SequenceEqual(actual) ? null : $"the turnover is {string.Join(", ", actual.Take(5))} instead of {string.Join(", ", expected.Take(5))}";

    private static KeyValuePair<int, long>[] Sorted(IEnumerable<KeyValuePair<int, long>> turnover) => [.. turnover.OrderBy(pair => pair.Key)];

    private sealed record Order(int Id, int Customer, long Cents, string Status)
    {
        private static readonly string[] States = ["open", "paid", "sent", "returned"];

        public static Order Make(int number)
        {
            var random = StableHash.Of(number);
            return new(number, (int)(random % Customers), (long)(random >> 40) % 100_000, States[(random >> 36) % 4]);
        }
    }

    private sealed record Customer(int Id, string Name, int Country)
    {
        public static Customer Make(int number) => new(number, $"customer {number}", (int)(StableHash.Of(number) % 200));
    }
}
