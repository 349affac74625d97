using System.Text.RegularExpressions;

namespace Yarnish.Status;

/// <summary>Hides secrets in settings and command lines before anybody sees them: by the name of what holds them, and by the forms in which they hide in addresses and connection strings.</summary>
internal static partial class Redaction
{
    /// <summary>Stands for what is not shown.</summary>
    public const string Hidden = "(hidden)";

    /// <summary>The value of a setting or variable as it may be shown.</summary>
    public static string Of(string name, string value) => value.Length > 0 && SecretName().IsMatch(name) ? Hidden : Of(value);

    /// <summary>A text as it may be shown.</summary>
    public static string Of(string text) => Assigned().Replace(UserInfo().Replace(text, $"$1{Hidden}@"), $"$1{Hidden}");

    /// <summary>A command line as it may be shown: also the argument after <c>--password</c> is hidden.</summary>
    public static string OfArguments(IEnumerable<string> arguments)
    {
        var shown = new List<string>();
        var secret = false;
        foreach (var argument in arguments)
        {
            shown.Add(secret ? Hidden : Of(argument));
            secret = argument.StartsWith('-') && !argument.Contains('=', StringComparison.Ordinal) && SecretName().IsMatch(argument);
        }
        return string.Join(' ', shown);
    }

    [GeneratedRegex("secret|password|passwd|passphrase|pwd|token|credential|api.?key|access.?key|private.?key|account.?key|connection.?string|authorization", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex SecretName();

    [GeneratedRegex("([a-z][a-z0-9+.-]*://)[^/@\\s]+@", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex UserInfo();

    [GeneratedRegex("((?:secret|password|passwd|pwd|token|api.?key|access.?key|account.?key)[a-z0-9_-]*\\s*[=:]\\s*)[^;,&\\s]+", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Assigned();
}
