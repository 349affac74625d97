using System.Security.Cryptography;
using System.Text;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// The one message type on the control bus: a control message as JSON, with its sender and a signature. Public because the bus library makes
/// objects of it; nothing else should.
/// </summary>
/// <param name="From">Text form of the sender's <see cref="ControlAddress"/>.</param>
/// <param name="Body">The <see cref="ControlMessage"/> as JSON.</param>
/// <param name="Signature">Lower-case hexadecimal HMAC-SHA256 of receiver, sender and body under the cluster secret; empty when the cluster has none.</param>
public sealed record ControlEnvelope(string From, string Body, string Signature)
{
    internal static ControlEnvelope Seal(string secret, ControlAddress from, ControlAddress to, string body) =>
        new(from.ToString(), body, Sign(secret, from.ToString(), to.ToString(), body));

    /// <summary>Whether the sender knows the secret. In constant time.</summary>
    internal bool IsAuthentic(string secret, ControlAddress to) => CryptographicOperations.FixedTimeEquals(
        Encoding.UTF8.GetBytes(Sign(secret, From, to.ToString(), Body)), Encoding.UTF8.GetBytes(Signature ?? ""));

    // The receiver is signed too, so that a message cannot be turned to another; lengths keep the parts apart.
    private static string Sign(string secret, string from, string to, string body) => secret.Length == 0
        ? ""
        : Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes($"yarnish-control-v1|{to.Length}|{to}|{from.Length}|{from}|{body}")));
}

/// <summary>Reads the text form of addresses.</summary>
internal static class ControlAddressText
{
    /// <summary>Reads what <see cref="ControlAddress.ToString"/> writes.</summary>
    public static bool TryParse(string? text, out ControlAddress address)
    {
        address = default;
        try
        {
            switch (text)
            {
                case "rm":
                    address = ControlAddress.ResourceManager;
                    return true;
                case not null when text.StartsWith("node-", StringComparison.Ordinal):
                    address = ControlAddress.Node(NodeId.Create(text[5..]));
                    return true;
                case not null when text.StartsWith("driver-", StringComparison.Ordinal):
                    address = ControlAddress.Application(ApplicationId.Create(text[7..]));
                    return true;
                default:
                    return false;
            }
        }
        catch (FormatException)
        {
            return false;
        }
    }

    /// <summary>The queue of a participant: <c>yarnish.&lt;cluster&gt;.rm</c>, <c>.node.&lt;id&gt;</c>, <c>.driver.&lt;app&gt;</c>.</summary>
    public static string Queue(string cluster, ControlAddress address) => address.Role switch
    {
        ControlRole.ResourceManager => $"yarnish.{cluster}.rm",
        ControlRole.Node => $"yarnish.{cluster}.node.{address.Id}",
        _ => $"yarnish.{cluster}.driver.{address.Id}",
    };

    /// <summary>The direct exchange of a cluster, which routes by the text form of the receiver's address.</summary>
    public static string Exchange(string cluster) => $"yarnish.{cluster}";
}
