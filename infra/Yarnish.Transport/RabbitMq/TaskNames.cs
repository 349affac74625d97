using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>The names of one application's objects in the broker, all under <c>y.&lt;app&gt;.</c>, which is what an operator grants a user permission on.</summary>
internal static class TaskNames
{
    /// <summary>Key of the results queue.</summary>
    public const string ResultsKey = "res";

    /// <summary>Key that every executor's queue is bound with: a direct exchange hands a message to all queues of a key.</summary>
    public const string AllExecutorsKey = "all";

    // AMQP carries names as short strings.
    private const int MaximumLength = 255;

    public static string Exchange(ApplicationId application) => $"y.{application}.x";

    public static string Results(ApplicationId application) => $"y.{application}.res";

    public static string Queue(ApplicationId application, ExecutorAddress address) => $"y.{application}.{Key(address)}";

    public static string Key(ExecutorAddress address) => string.Create(CultureInfo.InvariantCulture, $"t.{address.ExecutorId}.{address.Epoch}");

    /// <summary>Reads what <see cref="Key"/> writes; executor ids may hold dots, epochs not.</summary>
    public static bool TryParseKey(string key, out ExecutorAddress address)
    {
        address = default;
        var dot = key.LastIndexOf('.');
        if (dot < 3 || !key.StartsWith("t.", StringComparison.Ordinal) || !int.TryParse(key.AsSpan(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var epoch))
        {
            return false;
        }
        address = new ExecutorAddress(new ExecutorId(key[2..dot]), epoch);
        return true;
    }

    /// <exception cref="ArgumentException">The ids together are too long to name a queue.</exception>
    public static void Require(ApplicationId application, ExecutorId executor)
    {
        if (Queue(application, new ExecutorAddress(executor, int.MaxValue)).Length > MaximumLength)
        {
            throw new ArgumentException($"The ids '{application}' and '{executor}' are together too long to name a queue of RabbitMQ ({MaximumLength} characters): use shorter ids.");
        }
    }
}
